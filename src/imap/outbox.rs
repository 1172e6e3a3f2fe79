//! What is to be written next: small things are gathered, large pieces of mail go as they are.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};

/// A piece so large is not copied to be gathered.
const LARGE_BYTES: usize = 8 * 1024;

/// Octets in the order in which they are to be written.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Bytes>,
    /// What comes behind these.
    gathered: BytesMut,
    len: usize,
}

impl Outbox {
    /// Adds octets.
    pub fn put(&mut self, octets: &[u8]) {
        self.gathered.extend_from_slice(octets);
        self.len += octets.len();
    }

    /// Adds a piece of mail.
    pub fn put_piece(&mut self, piece: &Bytes) {
        if piece.len() < LARGE_BYTES {
            self.put(piece);
            return;
        }
        if !self.gathered.is_empty() {
            self.pieces.push_back(self.gathered.split().freeze());
        }
        self.pieces.push_back(piece.clone());
        self.len += piece.len();
    }
}

impl Buf for Outbox {
    fn remaining(&self) -> usize {
        self.len
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&self.gathered, |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let chunks = self.pieces.iter().map(|piece| &**piece).chain([&*self.gathered]);
        let chunks = chunks.filter(|chunk| !chunk.is_empty());
        let mut count = 0;
        for (slot, chunk) in out.iter_mut().zip(chunks) {
            *slot = IoSlice::new(chunk);
            count += 1;
        }
        count
    }

    fn advance(&mut self, count: usize) {
        self.len -= count;
        let mut left = count;
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > left {
                piece.advance(left);
                return;
            }
            left -= piece.len();
            self.pieces.pop_front();
        }
        self.gathered.advance(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is put comes out in its order, in whatever steps it is taken.
        #[test]
        fn what_is_put_comes_out_in_its_order(
            puts in proptest::collection::vec((1usize..20_000, any::<bool>()), 0..12),
            steps in proptest::collection::vec(1usize..30_000, 1..40),
        ) {
            let (mut outbox, mut wanted) = (Outbox::default(), Vec::new());
            for (number, (len, is_piece)) in (0u8..).zip(puts) {
                let octets = vec![number; len];
                match is_piece {
                    true => outbox.put_piece(&Bytes::from(octets.clone())),
                    false => outbox.put(&octets),
                }
                wanted.extend(octets);
            }
            let mut written = Vec::new();
            for step in steps.iter().cycle() {
                prop_assert_eq!(outbox.remaining(), wanted.len() - written.len());
                if !outbox.has_remaining() {
                    break;
                }
                let mut slices = [IoSlice::new(&[]); 4];
                let count = outbox.chunks_vectored(&mut slices);
                let together: Vec<u8> = slices[..count].iter().flat_map(|one| one.to_vec()).collect();
                prop_assert!(together.starts_with(outbox.chunk()) && !outbox.chunk().is_empty());
                let taken = together.len().min(*step);
                written.extend_from_slice(&together[..taken]);
                outbox.advance(taken);
            }
            prop_assert_eq!(written, wanted);
        }
    }
}
