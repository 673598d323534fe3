//! As server.py, with the standard library alone: `WORK loop|thread own`. Called by run.py, which compiles it by rustc.
//!
//! Readers are threads that only read; one thread, the loop, handles every line and writes every reply.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Instant;

const WORK_MS: f64 = 50.0;

enum Mail {
    Line(usize, String),
    Done(usize),
    New(TcpStream),
}

fn own(rounds: u64) -> u64 {
    (0..rounds).fold(0, |total, number| total + std::hint::black_box(number) * number % 7)
}

fn calibrated() -> u64 {
    let mut rounds = 1_000_000;
    for _ in 0..20 {
        let began = Instant::now();
        std::hint::black_box(own(rounds));
        let took = began.elapsed().as_secs_f64() * 1e3;
        rounds = ((rounds as f64 * WORK_MS / took.max(0.01)) as u64).max(1);
    }
    rounds
}

fn main() {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("a port");
    let rounds = calibrated();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let (mail, letters) = channel();
    let to_loop = mail.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = to_loop.send(Mail::New(stream));
        }
    });
    eprintln!("ready");
    let mut streams: Vec<TcpStream> = Vec::new();
    for letter in letters {
        match letter {
            Mail::New(stream) => {
                let (id, to_loop) = (streams.len(), mail.clone());
                let _ = stream.set_nodelay(true);
                let reader = BufReader::new(stream.try_clone().expect("a descriptor"));
                streams.push(stream);
                thread::spawn(move || {
                    for line in reader.lines().map_while(Result::ok) {
                        let _ = to_loop.send(Mail::Line(id, line));
                    }
                });
            }
            Mail::Line(id, line) if line.starts_with("WORK loop") => {
                std::hint::black_box(own(rounds));
                let _ = streams[id].write_all(b"done\n");
            }
            Mail::Line(id, line) if line.starts_with("WORK ") => {
                let to_loop = mail.clone();
                thread::spawn(move || {
                    std::hint::black_box(own(rounds));
                    let _ = to_loop.send(Mail::Done(id));
                });
            }
            Mail::Line(id, _) => {
                let _ = streams[id].write_all(b"ok\n");
            }
            Mail::Done(id) => {
                let _ = streams[id].write_all(b"done\n");
            }
        }
    }
}
