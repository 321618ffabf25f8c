//! HTTP/1.1 as the RFCs have it: a table of requests over real sockets, each with its verdict. The
//! table is in http_cases.txt beside this file.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use tests::http::{Answer, Answers, NoAnswer};
use tests::{Launch, Server, connect};

const TABLE: &str = include_str!("http_cases.txt");
/// Cases at least, so that a table that is not read is noticed.
const CASES_MIN: usize = 150;
/// How long nothing comes before it is taken for silence.
const SILENCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Served(u16),
    /// Served, and the last one.
    Last(u16),
    Refused(u16),
    Cut,
    Waits,
}

#[derive(Debug)]
struct Case {
    name: String,
    verdicts: Vec<Verdict>,
    content: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

fn cases() -> Vec<Case> {
    let lines = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(case).collect()
}

fn case(line: &str) -> Case {
    let mut columns = line.splitn(4, " | ");
    let mut column = || {
        columns
            .next()
            .unwrap_or_else(|| panic!("too few columns: {line}"))
    };
    let (verdict, rfc, name, bytes) = (column(), column(), column(), column());
    assert!(
        rfc.split_once(' ')
            .is_some_and(|(number, _)| number.parse::<u32>().is_ok()),
        "no paragraph of an RFC: {line}"
    );
    let (verdicts, content) = match verdict.split_once('=') {
        Some((verdicts, content)) => (verdicts, Some(unescaped(content))),
        None => (verdict, None),
    };
    let code = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line}"));
    let verdicts = verdicts
        .trim()
        .split(',')
        .map(|verdict| match verdict.split_once(' ') {
            Some(("refused", status)) => Verdict::Refused(code(status)),
            Some((status, "close")) => Verdict::Last(code(status)),
            None if verdict == "cut" => Verdict::Cut,
            None if verdict == "waits" => Verdict::Waits,
            None => Verdict::Served(code(verdict)),
            _ => panic!("no verdict: {line}"),
        });
    Case {
        name: format!("RFC {rfc}: {name}: {bytes:.100}"),
        verdicts: verdicts.collect(),
        content,
        bytes: unescaped(bytes),
    }
}

/// `\r`, `\xHH` and the like as bytes; `{n*text}` repeated.
fn unescaped(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let repeated = rest
            .strip_prefix('{')
            .and_then(|inner| inner.split_once('*'));
        let count =
            repeated.and_then(|(count, behind)| Some((count.parse::<usize>().ok()?, behind)));
        if let Some((count, behind)) = count {
            let end = matching_brace(behind);
            bytes.extend(unescaped(&behind[..end]).repeat(count));
            rest = &behind[end + 1..];
        } else if let Some(escape) = rest.strip_prefix('\\') {
            let (byte, length) = match &escape[..1] {
                "r" => (b'\r', 1),
                "n" => (b'\n', 1),
                "t" => (b'\t', 1),
                "0" => (0, 1),
                "x" => (u8::from_str_radix(&escape[1..3], 16).unwrap(), 3),
                other => panic!("no escape: \\{other}"),
            };
            bytes.push(byte);
            rest = &escape[length..];
        } else {
            bytes.extend_from_slice(first.to_string().as_bytes());
            rest = &rest[first.len_utf8()..];
        }
    }
    bytes
}

fn matching_brace(text: &str) -> usize {
    let mut depth = 1;
    let end = text.find(|character| {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.unwrap_or_else(|| panic!("no end of a repetition: {text}"))
}

fn start() -> Server {
    Launch::web().set("app.http.body_max=100000").start()
}

/// What becomes of a case whose bytes are sent by `send`, if it is not what the table says.
fn judge(server: &Server, case: &Case, send: impl Fn(&mut TcpStream, &[u8])) -> Result<(), String> {
    let mut stream = connect(server.addr()).unwrap();
    let mut answers = Answers::of(&stream);
    send(&mut stream, &case.bytes);
    let mut last: Option<Answer> = None;
    for (number, verdict) in case.verdicts.iter().enumerate() {
        let is_head = number == 0 && case.bytes.starts_with(b"HEAD ");
        match verdict {
            Verdict::Served(status) | Verdict::Last(status) | Verdict::Refused(status) => {
                let answer = final_answer(&mut answers, is_head).map_err(told)?;
                let ends = !matches!(verdict, Verdict::Served(_));
                if answer.status != *status || answer.closes() != ends {
                    return Err(told(answer));
                }
                if ends {
                    ended(&mut answers)?;
                }
                last = Some(answer);
            }
            Verdict::Cut => match final_answer(&mut answers, is_head) {
                Err(NoAnswer::Eof | NoAnswer::Reset) => {}
                other => return Err(told(other)),
            },
            Verdict::Waits => {
                stream.set_read_timeout(Some(SILENCE)).unwrap();
                match final_answer(&mut answers, is_head) {
                    Err(NoAnswer::Silence) => {}
                    other => return Err(told(other)),
                }
            }
        }
    }
    if let (Some(content), Some(answer)) = (&case.content, &last)
        && *content != answer.content
    {
        return Err(answer.content.escape_ascii().to_string());
    }
    if let Some(Verdict::Served(_)) = case.verdicts.last() {
        let further = b"GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        stream.write_all(further).unwrap();
        let further = answers.next(false).map_err(told)?;
        if further.content != b"hello" {
            return Err(told(further));
        }
        ended(&mut answers)?;
    }
    Ok(())
}

fn told(what: impl std::fmt::Debug) -> String {
    format!("{what:?}")
}

fn final_answer(answers: &mut Answers, is_head: bool) -> Result<Answer, NoAnswer> {
    loop {
        match answers.next(is_head) {
            Ok(answer) if answer.status == 100 => {}
            other => return other,
        }
    }
}

fn ended(answers: &mut Answers) -> Result<(), String> {
    match answers.end() {
        NoAnswer::Eof => Ok(()),
        other => Err(told(other)),
    }
}

/// Judges all, and tells of every one that is not as the table says.
fn judge_all(cases: &[Case], send: impl Fn(&mut TcpStream, &[u8])) {
    let server = start();
    let wrong = cases.iter().filter_map(|case| {
        let outcome = judge(&server, case, &send).err()?;
        Some(format!(
            "{}\n    {:?}, not {outcome:.300}",
            case.name, case.verdicts
        ))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Faults 75 to 84: hostile forms, and what is allowed.
#[test]
fn every_request_of_the_table_has_its_verdict() {
    let cases = cases();
    assert!(cases.len() >= CASES_MIN, "{}", cases.len());
    judge_all(&cases, |stream, bytes| {
        let _it_may_have_heard_enough = stream.write_all(bytes);
    });
    println!("{} cases", cases.len());
}

#[test]
fn every_request_of_the_table_has_the_same_verdict_in_pieces() {
    let mut cases = cases();
    cases.retain(|case| case.bytes.len() < 1000);
    judge_all(&cases, |stream, bytes| {
        for piece in bytes.chunks(1 + bytes.len() % 5) {
            let _it_may_have_heard_enough = stream.write_all(piece);
            std::thread::sleep(Duration::from_micros(50));
        }
    });
}
