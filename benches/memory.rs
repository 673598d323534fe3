//! What does it cost to remember a client, and to keep a connection?
//!
//! Resident memory of the process, from /proc: what it has grown by, divided by what it has grown
//! for. Sockets are the kernel's memory and not in it. The `AT` line of a client has 80 bytes.

mod support;

use support::dialect;
use support::generator::{Generator, Pace, Until};
use support::process::{Server, raise_descriptors};
use support::topology::Program;
use support::{Client, Result, grouped, heading, progress, size, table};

/// The load's connections; every number of clients here is a multiple of it.
const CONNECTIONS: u32 = 50;
const PIPELINE: usize = 128;

fn main() -> Result<()> {
    support::echo::serve_if_asked()?;
    heading("What does it cost to remember a client?");
    clients(size(100_000, 1_000), size(1_000_000, 10_000))?;
    heading("What does it cost to keep a connection?");
    let descriptors = raise_descriptors()?;
    let count = size(10_000, 200).min(descriptors.saturating_sub(200)) as usize;
    let mut rows = Vec::new();
    let echo = Server::echo(false, None)?;
    rows.push(connections("bare echo", &echo, count)?);
    drop(echo);
    rows.push(connections("herd", &Program::herd().solo(None)?, count)?);
    table(
        "system | connections | bytes each, idle | bytes each, after a message",
        &rows,
    );
    Ok(())
}

/// `few` clients, then `many` of them, then all of them once more at another place.
fn clients(few: u32, many: u32) -> Result<()> {
    let server = Program::herd().solo(None)?;
    let at_start = server.resident_bytes()?;
    let mut rows = Vec::new();
    for (what, clients) in [
        ("", 0..few),
        ("", few..many),
        (", all moved again", 0..many),
    ] {
        let count = clients.end;
        let quota = Until::Messages((clients.len() as u32 / CONNECTIONS).into());
        let mut load = Generator::connect(
            server.address,
            &dialect::HERD,
            CONNECTIONS,
            PIPELINE,
            clients,
        )?;
        load.run(Pace::Closed, quota)?;
        let grown = server.resident_bytes()? - at_start;
        let each = grown / f64::from(count);
        let count = format!("{}{what}", grouped(count.into()));
        progress(format!("{count} clients: {each:.0} bytes each"));
        rows.push(vec![
            count,
            format!("{:.1}", grown / 1e6),
            format!("{each:.0}"),
        ]);
    }
    table("clients | memory grown by, MB | bytes per client", &rows);
    Ok(())
}

/// All connections speak of the same client, so that no records are counted.
fn connections(name: &str, server: &Server, count: usize) -> Result<Vec<String>> {
    let answered_on_new = || Client::connect(server.address)?.move_to("nomad", "+34.07-118.44");
    answered_on_new()?;
    let at_start = server.resident_bytes()?;
    let connect = |_| Client::connect(server.address);
    let mut connected: Vec<Client> = (0..count).map(connect).collect::<Result<_>>()?;
    answered_on_new()?; // so all before it have been accepted, too
    let idle = (server.resident_bytes()? - at_start) / count as f64;
    for client in &mut connected {
        client.move_to("nomad", "+34.07-118.44")?;
    }
    let used = (server.resident_bytes()? - at_start) / count as f64;
    progress(format!(
        "{name}: {idle:.0} bytes, after a message {used:.0}"
    ));
    let (idle, used) = (format!("{idle:.0}"), format!("{used:.0}"));
    Ok(vec![name.to_string(), grouped(count as f64), idle, used])
}
