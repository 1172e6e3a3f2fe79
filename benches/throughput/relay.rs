//! The yardstick: a relay that only moves octets, as fast as the two servers allow.
//!
//! It logs in, lists, and asks for everything at once; what comes is appended while it comes. It
//! checks nothing, remembers nothing, and ends at the first surprise.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::{io, thread};

use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::PASSWORD;

const PAIRS: usize = 4;
const TOGETHER: usize = 50;
const BUFFER_BYTES: usize = 256 * 1024;

/// How a relay works.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) source: End,
    pub(crate) target: End,
    /// Whether the target takes many messages in one APPEND.
    pub(crate) multiappend: bool,
    /// The first UID of each mailbox that is wanted.
    pub(crate) from: usize,
}

/// Where a server of this machine is reached.
#[derive(Debug)]
pub(crate) struct End {
    port: u16,
    tls: Option<Arc<ClientConfig>>,
}

impl End {
    pub(crate) fn plain(port: u16) -> Self {
        Self { port, tls: None }
    }

    /// Through TLS from the first octet on; the server's certificate must be of this authority.
    pub(crate) fn tls(port: u16, ca_file: PathBuf) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca_file).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Self { port, tls: Some(Arc::new(config)) }
    }

    fn connect(&self) -> BufReader<Stream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = match &self.tls {
            None => Stream::Plain(stream),
            Some(config) => {
                let name = Ipv4Addr::LOCALHOST.to_string().try_into().unwrap();
                let session = ClientConnection::new(Arc::clone(config), name).unwrap();
                Stream::Tls(Box::new(StreamOwned::new(session, stream)))
            }
        };
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, stream);
        reader.read_line(&mut String::new()).unwrap();
        reader
    }
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(octets),
            Self::Tls(stream) => stream.write(octets),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

impl Relay {
    /// Copies the accounts of these users, over so many pairs of connections at once.
    pub(crate) fn run(&self, users: &[String]) {
        let waiting = Mutex::new(users.iter());
        thread::scope(|scope| {
            for _ in 0..PAIRS.min(users.len()) {
                scope.spawn(|| {
                    loop {
                        let user = waiting.lock().unwrap().next();
                        let Some(user) = user else { break };
                        self.account(user);
                    }
                });
            }
        });
    }

    fn account(&self, user: &str) {
        let mut source = self.source.connect();
        let mut target = self.target.connect();
        for end in [&mut source, &mut target] {
            let login = format!("l LOGIN {user} {PASSWORD}\r\n");
            end.get_mut().write_all(login.as_bytes()).unwrap();
        }
        until(&mut source, "l OK", |_| ());
        until(&mut target, "l OK", |_| ());
        source.get_mut().write_all(b"n LIST \"\" *\r\n").unwrap();
        let mut names = Vec::new();
        until(&mut source, "n OK", |line| {
            names.extend(line.trim_end().rsplit_once(" \"/\" ").map(|(_, name)| name.to_owned()));
        });
        let mut orders = String::new();
        for (index, name) in names.iter().enumerate() {
            orders += &format!("e EXAMINE {name}\r\nf{index} UID FETCH {}:* ", self.from);
            orders += "(FLAGS INTERNALDATE BODY.PEEK[])\r\n";
        }
        source.get_mut().write_all(orders.as_bytes()).unwrap();

        let mut out = Out {
            to: BufWriter::with_capacity(BUFFER_BYTES, target.into_inner()),
            together: if self.multiappend { TOGETHER } else { 1 },
            open: 0,
        };
        for name in names.iter().filter(|name| *name != "INBOX") {
            write!(out.to, "c CREATE {name}\r\n").unwrap();
        }
        for (index, name) in names.iter().enumerate() {
            self.mailbox(&mut source, &mut out, &format!("f{index} OK"), name);
        }
        out.to.write_all(b"o LOGOUT\r\n").unwrap();
        out.to.flush().unwrap();
        expect_success(out.to.into_inner().unwrap());
    }

    fn mailbox(&self, source: &mut BufReader<Stream>, out: &mut Out, end: &str, name: &str) {
        let mut line = String::new();
        loop {
            line.clear();
            source.read_line(&mut line).unwrap();
            if line.starts_with(end) {
                break out.close();
            }
            let Some(size) = line.trim_end().strip_suffix('}').and_then(|l| l.rsplit_once('{'))
            else {
                assert!(!line.is_empty() && !line.contains(" NO ") && !line.contains(" BAD "));
                continue;
            };
            let (head, size) = (size.0, size.1.parse().unwrap());
            let uid: usize = between(head, "UID ", " ").parse().unwrap();
            let flags = between(head, "FLAGS (", ")").replace("\\Recent", "");
            let date = between(head, "INTERNALDATE \"", "\"");
            // `n:*` is the last message where there is no UID from n on.
            let is_wanted = uid >= self.from;
            if is_wanted {
                out.begin(name, &format!(" ({}) \"{date}\" {{{size}+}}\r\n", flags.trim()));
            }
            pump(source, size, is_wanted.then_some(&mut out.to));
            line.clear();
            source.read_line(&mut line).unwrap();
        }
    }
}

struct Out {
    to: BufWriter<Stream>,
    together: usize,
    /// Messages in the APPEND that is open.
    open: usize,
}

impl Out {
    fn begin(&mut self, name: &str, message: &str) {
        if self.open == self.together {
            self.close();
        }
        if self.open == 0 {
            write!(self.to, "a APPEND {name}").unwrap();
        }
        self.to.write_all(message.as_bytes()).unwrap();
        self.open += 1;
    }

    fn close(&mut self) {
        if self.open > 0 {
            self.to.write_all(b"\r\n").unwrap();
        }
        self.open = 0;
    }
}

fn pump(from: &mut BufReader<Stream>, size: usize, mut to: Option<&mut BufWriter<Stream>>) {
    let mut left = size;
    while left > 0 {
        let piece = from.fill_buf().unwrap();
        let count = piece.len().min(left);
        assert!(count > 0, "the source ended");
        if let Some(to) = &mut to {
            to.write_all(&piece[..count]).unwrap();
        }
        from.consume(count);
        left -= count;
    }
}

fn until(end: &mut BufReader<Stream>, last: &str, mut each: impl FnMut(&str)) {
    let mut line = String::new();
    while !line.starts_with(last) {
        line.clear();
        end.read_line(&mut line).unwrap();
        assert!(line.starts_with('*') || line.starts_with(last), "{line}");
        each(&line);
    }
}

/// Reads all that the target has said, which is little: its sockets held it until now.
fn expect_success(target: Stream) {
    let mut target = BufReader::new(target);
    let mut line = String::new();
    while !line.starts_with("o OK") {
        line.clear();
        target.read_line(&mut line).unwrap();
        assert!(line.starts_with('*') || line.contains(" OK "), "{line}");
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let after = text.split_once(start).unwrap().1;
    after.split_once(end).unwrap().0
}
