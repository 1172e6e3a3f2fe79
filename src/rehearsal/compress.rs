//! COMPRESS=DEFLATE (RFC 4978).

use bytes::BytesMut;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::session::{Reply, Session};
use super::wire::Gone;

/// Room for what comes out of one step.
const STEP_BYTES: usize = 32 * 1024;

/// What both directions of a connection remember.
pub(super) struct Deflate {
    outward: Compress,
    inward: Decompress,
    holds_back: bool,
}

impl Default for Deflate {
    fn default() -> Self {
        Self {
            outward: Compress::new(Compression::default(), false),
            inward: Decompress::new(false),
            holds_back: false,
        }
    }
}

impl Deflate {
    /// These bytes, as far as the compressor gives them already.
    pub(super) fn compressed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut out, start) = (Vec::new(), self.outward.total_in());
        self.holds_back = true;
        loop {
            let done = usize::try_from(self.outward.total_in() - start).unwrap_or(usize::MAX);
            if done >= bytes.len() {
                return out;
            }
            out.reserve(STEP_BYTES);
            // It fails at a wrong order of calls only.
            let _ = self.outward.compress_vec(&bytes[done..], &mut out, FlushCompress::None);
        }
    }

    /// Whether the compressor may hold something back.
    pub(super) fn holds_back(&self) -> bool {
        self.holds_back
    }

    /// What the compressor has held back.
    pub(super) fn flushed(&mut self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STEP_BYTES);
        self.holds_back = false;
        loop {
            let _ = self.outward.compress_vec(&[], &mut out, FlushCompress::Sync);
            if out.len() < out.capacity() {
                return out;
            }
            out.reserve(STEP_BYTES);
        }
    }

    /// Adds to the input what these bytes were before the client compressed them.
    pub(super) fn decompress(&mut self, bytes: &[u8], input: &mut BytesMut) -> Result<(), Gone> {
        let (start, mut step) = (self.inward.total_in(), Vec::with_capacity(STEP_BYTES));
        loop {
            let done = usize::try_from(self.inward.total_in() - start).map_err(|_| Gone)?;
            step.clear();
            let status =
                self.inward.decompress_vec(&bytes[done..], &mut step, FlushDecompress::None);
            input.extend_from_slice(&step);
            match status {
                Ok(Status::Ok) => {}
                Ok(Status::BufError) => return Ok(()),
                Ok(Status::StreamEnd) | Err(_) => return Err(Gone),
            }
        }
    }
}

impl Session {
    /// Agrees to compress what follows, once.
    pub(super) fn compress(&self, command: &[u8]) -> Reply {
        let wanted = command.trim_ascii_end().to_ascii_uppercase();
        if !self.profile().compress {
            Reply::bad("command is not supported")
        } else if self.login.is_none() {
            Reply::bad("log in first")
        } else if !wanted.ends_with(b" COMPRESS DEFLATE") {
            Reply::bad("DEFLATE alone is supported")
        } else if self.wire.is_compressed() {
            Reply::no("[COMPRESSIONACTIVE] it is compressed already")
        } else {
            Reply::ok("what follows is compressed")
        }
    }
}
