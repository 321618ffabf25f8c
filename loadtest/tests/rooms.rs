//! `--mode chat` and `--mode push` against servers that pass lines on, and against servers that do
//! not do that right.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use loadtest::Stop;
use loadtest::data::Report;
use loadtest::engine::{self, Show};
use loadtest::plan::{Mode, Plan};
use loadtest::report::page;
use loadtest::workload::{Protocol, Workload};

/// Far longer than a delivery takes; a bound, not a pause.
const BOUND: Duration = Duration::from_secs(30);
/// After this a line that has not come is lost.
const PATIENCE: Duration = Duration::from_secs(3);

/// What happens to the lines that come to one connection. Which line: of all that are said to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// This one does not come.
    Lost(usize),
    /// From this one on none comes.
    Deaf(usize),
    Doubled(usize),
    /// It comes behind the next of the same speaker.
    Late(usize),
    Changed(usize),
    /// It hears all rooms.
    Foreign,
    Closed(usize),
}

struct Member {
    stream: TcpStream,
    room: String,
    said: usize,
    held: Option<Vec<u8>>,
}

impl Member {
    fn hear(&mut self, line: &[u8], fault: Fault) {
        let (this, mut changed) = (self.said, line.to_vec());
        self.said += 1;
        match fault {
            Fault::Lost(lost) if lost == this => return,
            Fault::Deaf(first) if first <= this => return,
            Fault::Doubled(doubled) if doubled == this => changed.extend(line),
            Fault::Late(late) if late == this => {
                self.held = Some(changed);
                return;
            }
            Fault::Changed(at) if at == this => changed[line.len() - 2] ^= 1,
            Fault::Closed(at) if at == this => {
                drop(self.stream.shutdown(std::net::Shutdown::Both));
            }
            _ => {}
        }
        let is_of_same = |held: &mut Vec<u8>| speaker(held) == speaker(line);
        if let Some(held) = self.held.take_if(is_of_same) {
            changed.extend(held);
        }
        drop(self.stream.write_all(&changed));
    }
}

/// Its name; nothing of what a publisher says.
fn speaker(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|byte| *byte == b':');
    &line[..end.unwrap_or(0)]
}

#[derive(Default)]
struct Hub {
    members: Vec<Member>,
    names: HashMap<SocketAddr, String>,
}

impl Hub {
    fn enter(&mut self, stream: &TcpStream, room: &str) {
        self.members.push(Member {
            stream: stream.try_clone().unwrap(),
            room: room.to_owned(),
            said: 0,
            held: None,
        });
    }

    /// The fault is that of the first, except for `spared`.
    fn say(&mut self, room: &str, line: &[u8], fault: Fault, spared: Option<SocketAddr>) {
        let peer = |member: &Member| member.stream.peer_addr().ok();
        let faulty = self
            .members
            .iter()
            .position(|member| peer(member) != spared);
        for (index, member) in self.members.iter_mut().enumerate() {
            let fault = if Some(index) == faulty {
                fault
            } else {
                Fault::None
            };
            if member.room == room || fault == Fault::Foreign {
                member.hear(line, fault);
            }
        }
    }

    fn notice(&mut self, room: &str, notice: &str) {
        let members = self.members.iter_mut().filter(|member| member.room == room);
        members.for_each(|member| drop(member.stream.write_all(notice.as_bytes())));
    }
}

/// A server of which every connection is served by a thread, until the process ends.
fn server(serve: impl Fn(TcpStream, &Mutex<Hub>) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let (serve, hub) = (Arc::new(serve), Arc::new(Mutex::new(Hub::default())));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            stream.set_nodelay(true).unwrap();
            let (serve, hub) = (Arc::clone(&serve), Arc::clone(&hub));
            thread::spawn(move || serve(stream, &hub));
        }
    });
    addr
}

fn chat(fault: Fault) -> SocketAddr {
    server(move |stream, hub| {
        let (peer, mut room) = (stream.peer_addr().unwrap(), String::new());
        for line in BufReader::new(&stream).lines().map_while(Result::ok) {
            let mut hub = hub.lock().unwrap();
            if let Some(name) = line.strip_prefix("/name ") {
                hub.names.insert(peer, name.to_owned());
                continue;
            }
            let name = hub.names[&peer].clone();
            if let Some(joined) = line.strip_prefix("/join ") {
                joined.clone_into(&mut room);
                hub.enter(&stream, joined);
                hub.notice(joined, &format!("* {name} joined\n"));
            } else {
                hub.say(&room, format!("{name}: {line}\n").as_bytes(), fault, None);
            }
        }
    })
}

fn publisher(fault: Fault) -> SocketAddr {
    server(move |stream, hub| {
        hub.lock().unwrap().enter(&stream, "");
        (&stream).write_all(b"* subscribed\n").unwrap();
        for line in BufReader::new(&stream).lines().map_while(Result::ok) {
            let line = format!("{line}\n");
            let own = stream.peer_addr().ok();
            hub.lock().unwrap().say("", line.as_bytes(), fault, own);
        }
    })
}

/// Three connections to a room.
fn plan(target: SocketAddr, mode: Mode) -> Plan {
    Plan {
        mode,
        connections: if mode == Mode::Chat { 6 } else { 3 },
        rooms: 2,
        interval: Duration::from_millis(40),
        warmup: Duration::from_millis(80),
        duration: Duration::from_millis(200),
        timeout: BOUND,
        ..Plan::to(target)
    }
}

fn run(plan: Plan) -> Report {
    engine::run(plan, Show::Nothing, &Stop::default(), &mut ()).unwrap()
}

/// With a fault that leaves lines to be awaited.
fn run_in_vain(target: SocketAddr, mode: Mode) -> Report {
    run(Plan {
        timeout: PATIENCE,
        ..plan(target, mode)
    })
}

/// That nothing else went wrong than `count` failures of this kind.
fn assert_failures(report: &Report, kind: &str, count: u64) {
    assert_eq!(report.failures_of(kind), count, "{report}");
    assert_eq!(report.failures_total(), count, "{report}");
    assert!(!report.is_clean());
}

#[test]
fn every_line_is_heard_once_and_in_order_by_all_of_its_room() {
    let report = run(plan(chat(Fault::None), Mode::Chat));
    assert!(report.is_complete(), "{report}");
    // Of 200 ms, every 40 ms, by 6 to 3 each; before them those of 80 ms.
    let fanout = report.fanout.as_ref().unwrap();
    assert_eq!((fanout.said, fanout.rooms), (30, 2), "{report}");
    assert_eq!(report.latency_us.count, 90, "{report}");
    assert_eq!(report.requests.total, 90 + 36, "{report}");
    let text = report.to_string();
    assert!(text.contains("0 lost, 0 doubled, 0 out of order"), "{text}");
    let page = page::html(&report);
    assert!(page.contains("Deliveries per second"));
}

#[test]
fn lines_of_any_length_are_checked() {
    for payload in [48, 1000, 9000] {
        let workload = Workload::new(Protocol::Echo, payload, 1);
        let report = run(Plan {
            workload,
            ..plan(chat(Fault::None), Mode::Chat)
        });
        assert!(report.is_complete(), "{report}");
    }
}

#[test]
fn what_is_published_is_heard_once_and_in_order_by_all() {
    let report = run(plan(publisher(Fault::None), Mode::Push));
    assert!(report.is_complete(), "{report}");
    let fanout = report.fanout.as_ref().unwrap();
    assert_eq!((fanout.said, fanout.rooms), (5, 1), "{report}");
    assert_eq!(
        (fanout.last_us.count, report.latency_us.count),
        (5, 15),
        "{report}"
    );
    assert!(
        fanout.last_us.max >= report.latency_us.max * 0.99,
        "{report}"
    );
    assert!(report.to_string().contains("to the last"), "{report}");
}

#[test]
fn a_lost_line_is_found() {
    for (mode, target) in [
        (Mode::Chat, chat(Fault::Lost(9))),
        (Mode::Push, publisher(Fault::Lost(3))),
    ] {
        let report = run_in_vain(target, mode);
        assert_failures(&report, "lost", 1);
        assert_eq!(report.requests.unanswered, 1, "{report}");
    }
}

#[test]
fn the_last_lines_are_missed_though_none_comes_behind_them() {
    // Of 7 that are said to a connection, and of 21.
    for (mode, target, lost) in [
        (Mode::Push, publisher(Fault::Deaf(6)), 1),
        (Mode::Chat, chat(Fault::Deaf(17)), 4),
    ] {
        let report = run_in_vain(target, mode);
        assert_failures(&report, "lost", lost);
        assert_eq!(report.requests.unanswered, lost, "{report}");
    }
}

#[test]
fn a_doubled_line_is_found() {
    for (mode, target) in [
        (Mode::Chat, chat(Fault::Doubled(9))),
        (Mode::Push, publisher(Fault::Doubled(3))),
    ] {
        assert_failures(&run(plan(target, mode)), "doubled", 1);
    }
}

#[test]
fn a_doubled_last_line_is_found() {
    assert_failures(
        &run(plan(publisher(Fault::Doubled(6)), Mode::Push)),
        "doubled",
        1,
    );
}

#[test]
fn a_line_behind_a_later_one_of_its_speaker_is_found() {
    for (mode, target) in [
        (Mode::Chat, chat(Fault::Late(9))),
        (Mode::Push, publisher(Fault::Late(3))),
    ] {
        let report = run(plan(target, mode));
        assert_failures(&report, "out_of_order", 1);
        assert_eq!(report.requests.unanswered, 0, "it came: {report}");
    }
}

#[test]
fn a_changed_byte_is_found() {
    for (mode, target) in [
        (Mode::Chat, chat(Fault::Changed(9))),
        (Mode::Push, publisher(Fault::Changed(3))),
    ] {
        let report = run(plan(target, mode));
        assert_failures(&report, "wrong_bytes", 1);
    }
}

#[test]
fn a_line_of_another_room_is_found() {
    assert_failures(
        &run(plan(chat(Fault::Foreign), Mode::Chat)),
        "wrong_bytes",
        1,
    );
}

#[test]
fn who_is_cut_off_leaves_lines_unheard() {
    let report = run(plan(publisher(Fault::Closed(4)), Mode::Push));
    assert_eq!(report.failures_total(), report.failures_of("closed_early"));
    assert_eq!(report.failures_total(), 1, "{report}");
    assert_eq!(
        report.requests.unanswered, 3,
        "the fourth of seven, and on: {report}"
    );
}

#[test]
fn a_server_that_lets_nobody_in_serves_nobody() {
    let report = run(Plan {
        timeout: Duration::from_millis(300),
        ..plan(
            server(|stream, _| drop(BufReader::new(stream).lines().last())),
            Mode::Chat,
        )
    });
    assert_eq!(
        (report.connections.established, report.connections.served),
        (6, 0)
    );
    assert_failures(&report, "timed_out", 6);
}
