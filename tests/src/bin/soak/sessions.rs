//! What clients do, a session at a time. Well-behaved ones check every byte, and fail if they are
//! not served. The others fail as they like.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use tests::{Client, Random, connect, reset};

/// A session: where, and what is drawn.
pub(super) type Session = fn(&Place, &mut Random) -> io::Result<()>;

/// Where the two servers are met.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) echo: SocketAddr,
    pub(super) ping: SocketAddr,
}

pub(super) const GOOD: [(&str, Session); 5] = [
    ("messages", messages),
    ("a big message", big_message),
    ("a pipeline", pipeline),
    ("churn", churn),
    ("pauses", pauses),
];

pub(super) const BAD: [(&str, Session); 8] = [
    ("loris", loris),
    ("never reads", never_reads),
    ("reset", resets),
    ("half-close", half_closes),
    ("garbage", garbage),
    ("silence", silence),
    ("comes and goes", comes_and_goes),
    ("asks and leaves", asks_and_leaves),
];

/// How long one who misbehaves waits for the server to end him: longer than the deadlines, once,
/// and then he leaves.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two bytes of one who drips.
const DRIP: Duration = Duration::from_millis(100);

fn messages(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut client = Client::connect(place.echo);
    for _ in 0..=random.below(20) {
        let length = 1 + random.below(8000);
        let message = random.bytes(length);
        client.ask(&message, &message);
    }
    Ok(())
}

fn big_message(place: &Place, random: &mut Random) -> io::Result<()> {
    let length = 100_000 + random.below(400_000);
    let message = random.bytes(length);
    send_and_expect(place.echo, &message, &message)
}

/// Requests of which most are small, all in one go.
fn pipeline(place: &Place, random: &mut Random) -> io::Result<()> {
    let (mut requests, mut replies) = (Vec::new(), Vec::new());
    for _ in 0..=random.below(200) {
        let length_max = if random.below(10) == 0 { 20_000 } else { 200 };
        let length = random.below(length_max);
        let text = random.bytes(length);
        requests.extend_from_slice(&echo_request(&text));
        replies.extend_from_slice(&[format!("${length}\r\n").as_bytes(), &text, b"\r\n"].concat());
    }
    send_and_expect(place.ping, &requests, &replies)
}

fn churn(place: &Place, random: &mut Random) -> io::Result<()> {
    for _ in 0..=random.below(50) {
        Client::connect(place.ping).ask(b"PING\r\n", b"+PONG\r\n");
    }
    Ok(())
}

fn pauses(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut client = Client::connect(place.ping);
    for _ in 0..=random.below(5) {
        client.ask(b"PING\r\n", b"+PONG\r\n");
        thread::sleep(Duration::from_millis(random.below(600) as u64));
    }
    Ok(())
}

fn send_and_expect(address: SocketAddr, sent: &[u8], expected: &[u8]) -> io::Result<()> {
    let mut client = Client::connect(address);
    let mut writer = client.stream().try_clone()?;
    thread::scope(|scope| {
        let sender = scope.spawn(move || writer.write_all(sent));
        client.expect(expected);
        sender.join().unwrap()
    })
}

fn echo_request(text: &[u8]) -> Vec<u8> {
    [
        format!("*2\r\n$4\r\nECHO\r\n${}\r\n", text.len()).as_bytes(),
        text,
        b"\r\n",
    ]
    .concat()
}

fn loris(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(place.ping)?;
    let text = random.bytes(1000);
    let start = Instant::now();
    for byte in echo_request(&text) {
        stream.write_all(&[byte])?;
        thread::sleep(DRIP);
        if start.elapsed() > PATIENCE {
            break;
        }
    }
    Ok(())
}

fn never_reads(place: &Place, random: &mut Random) -> io::Result<()> {
    let (address, bytes) = if random.below(2) == 0 {
        (place.echo, random.bytes(16_384))
    } else {
        (place.ping, echo_request(&random.bytes(1000)).repeat(16))
    };
    let mut stream = connect(address)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    // A hole in the line takes all there is, so it is not left to the server alone to end this.
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        stream.write_all(&bytes)?;
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn resets(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(if random.below(2) == 0 {
        place.echo
    } else {
        place.ping
    })?;
    let length = random.below(100_000);
    // The rest of it is not waited for, so that the reset comes in the middle.
    stream.set_nonblocking(true)?;
    let _ = stream.write(&random.bytes(length))?;
    thread::sleep(Duration::from_millis(random.below(5) as u64));
    reset(stream)
}

fn half_closes(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(place.ping)?;
    let request = echo_request(&random.bytes(500));
    let length = random.below(request.len() + 1);
    stream.write_all(&request[..length])?;
    stream.shutdown(Shutdown::Write)?;
    read_to_end(&mut stream)
}

fn garbage(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(place.ping)?;
    let length = 1 + random.below(20_000);
    let mut bytes = random.bytes(length);
    // Half of it begins well.
    if random.below(2) == 0 {
        bytes.splice(0..0, *b"*3\r\n$4\r\nECHO\r\n$");
    }
    stream.write_all(&bytes)?;
    stream.shutdown(Shutdown::Write)?;
    read_to_end(&mut stream)
}

fn silence(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(if random.below(2) == 0 {
        place.echo
    } else {
        place.ping
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    read_to_end(&mut stream)
}

fn comes_and_goes(place: &Place, random: &mut Random) -> io::Result<()> {
    for round in 0..random.below(100) {
        let stream = connect(if round % 2 == 0 {
            place.echo
        } else {
            place.ping
        })?;
        if random.below(2) == 0 {
            reset(stream)?;
        }
    }
    Ok(())
}

fn asks_and_leaves(place: &Place, random: &mut Random) -> io::Result<()> {
    let mut stream = connect(place.echo)?;
    let length = 1 + random.below(30_000);
    stream.write_all(&random.bytes(length))
}

fn read_to_end(stream: &mut TcpStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    let start = Instant::now();
    while start.elapsed() < PATIENCE && stream.read(&mut bytes)? > 0 {}
    Ok(())
}
