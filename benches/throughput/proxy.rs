//! A link with a delay: what comes in on a port leaves for the server so much later, and back.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use tokio::time::Instant;

const PIECE_BYTES: usize = 16 * 1024;
/// Pieces on their way in one direction: a window of 8 MiB.
const PIECES_MAX: usize = 512;

/// Opens a port to another port of this machine over a link with this round trip. Its threads end
/// with the program.
pub(crate) fn start(port: u16, round_trip: Duration) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for near in listener.incoming() {
            let near = near.unwrap();
            // It is asked for only now: a connection takes its round trip, too.
            thread::spawn(move || {
                thread::sleep(round_trip);
                if let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
                    carry(near.try_clone().unwrap(), far.try_clone().unwrap(), round_trip / 2);
                    carry(far, near, round_trip / 2);
                }
            });
        }
    });
    own
}

fn carry(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    to.set_nodelay(true).unwrap();
    let (sender, pieces) = sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    thread::spawn(move || {
        let mut piece = vec![0; PIECE_BYTES];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if sender.send((Instant::now() + delay, piece[..count].to_vec())).is_err() {
                break;
            }
        }
    });
    thread::spawn(move || {
        for (due, piece) in pieces {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
