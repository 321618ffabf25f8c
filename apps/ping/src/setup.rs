//! The commands with which clients set up their connections, answered as by a Redis 7.0 that has
//! one database, no password and no keys.
//!
//! `CLIENT SETINFO` is of Redis 7.2: clients send it to every server, and what they tell is checked
//! and not kept.

use super::client::{Client, Ids, InvalidName, NAME_MAX, Protocol, is_printable};
use super::reply::{QUOTED_MAX, Words, bulk_header, cut, error, is, until_nul, wrong_number};
use super::resp::decimal;

/// The Redis whose answers these are.
const VERSION: &str = "7.0.15";
const OK: &[u8] = b"+OK\r\n";

const NO_PROTOCOL: &[u8] = b"NOPROTO unsupported protocol version";
const WRONG_PASSWORD: &[u8] = b"WRONGPASS invalid username-password pair or user is disabled.";
const NO_PASSWORD: &[u8] =
    b"ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";

/// What a ready check asks for: sections and their fields, in Redis's order.
const INFO: [(&str, &[(&str, &str)]); 4] = [
    (
        "Server",
        &[("redis_version", VERSION), ("redis_mode", "standalone")],
    ),
    ("Persistence", &[("loading", "0")]),
    (
        "Replication",
        &[("role", "master"), ("connected_slaves", "0")],
    ),
    ("Cluster", &[("cluster_enabled", "0")]),
];
/// Names that stand for all sections.
const INFO_ALL: [&str; 3] = ["default", "all", "everything"];

/// The whole reply to the command `name` with `words` behind it; none: it is no command of these.
pub(crate) fn answer(
    name: &[u8],
    words: Words<'_>,
    client: &mut Client,
    ids: &Ids,
) -> Option<Vec<u8>> {
    let is = |command: &str| name.eq_ignore_ascii_case(command.as_bytes());
    let reply = match () {
        () if is("hello") => hello(words, client, ids),
        () if is("client") => client_command(words, client, ids),
        () if is("auth") => auth(words),
        () if is("select") => select(words),
        () if is("reset") => reset(words, client),
        () if is("command") => command(words, client.protocol()),
        () if is("info") => Ok(info(words, client.protocol())),
        () => return None,
    };
    Some(reply.unwrap_or_else(error))
}

/// The whole reply, or the text of an error.
type Answer = Result<Vec<u8>, Vec<u8>>;

/// `HELLO [VERSION [AUTH USER PASSWORD] [SETNAME NAME]]`. As in Redis 7.0 an option counts even if
/// one behind it is wrong; the version does not.
fn hello(mut words: Words<'_>, client: &mut Client, ids: &Ids) -> Answer {
    let protocol = words.next().map(|version| protocol(&version)).transpose()?;
    while let Some(option) = words.next() {
        if is(&option, "auth") && words.left() >= 2 {
            log_in(&words.word())?;
            words.word(); // the password: any will do
        } else if is(&option, "setname") && words.left() >= 1 {
            set_name(&words.word(), client)?;
        } else {
            return Err([
                b"ERR Syntax error in HELLO option '",
                until_nul(&option),
                b"'",
            ]
            .concat());
        }
    }
    if let Some(protocol) = protocol {
        client.set_protocol(protocol);
    }
    Ok(greeting(client, ids))
}

fn protocol(version: &[u8]) -> Result<Protocol, Vec<u8>> {
    match decimal(version) {
        Some(2) => Ok(Protocol::Resp2),
        Some(3) => Ok(Protocol::Resp3),
        Some(_) => Err(NO_PROTOCOL.to_vec()),
        None => Err(b"ERR Protocol version is not an integer or out of range".to_vec()),
    }
}

fn greeting(client: &mut Client, ids: &Ids) -> Vec<u8> {
    let (header, version) = match client.protocol() {
        Protocol::Resp2 => ("*14", 2),
        Protocol::Resp3 => ("%7", 3),
    };
    let id = client.id(ids);
    let length = VERSION.len();
    let reply = format!(
        "{header}\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n${length}\r\n{VERSION}\r\n$5\r\nproto\r\n:{version}\r\n\
         $2\r\nid\r\n:{id}\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"
    );
    reply.into_bytes()
}

/// `CLIENT ID | GETNAME | SETNAME NAME | SETINFO OPTION TEXT`.
fn client_command(mut words: Words<'_>, client: &mut Client, ids: &Ids) -> Answer {
    let Some(subcommand) = words.next() else {
        return Err(wrong_number("client"));
    };
    let says = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    match words.left() {
        0 if says("id") => Ok(format!(":{}\r\n", client.id(ids)).into_bytes()),
        0 if says("getname") => Ok(get_name(client)),
        1 if says("setname") => set_name(&words.word(), client).map(|()| OK.to_vec()),
        2 if says("setinfo") => check_info(&words.word(), &words.word()),
        _ if says("id") => Err(wrong_number("client|id")),
        _ if says("getname") => Err(wrong_number("client|getname")),
        _ if says("setname") => Err(wrong_number("client|setname")),
        _ if says("setinfo") => Err(wrong_number("client|setinfo")),
        _ => Err(unknown_subcommand(&subcommand, "CLIENT")),
    }
}

fn get_name(client: &Client) -> Vec<u8> {
    match (client.name(), client.protocol()) {
        (b"", Protocol::Resp2) => b"$-1\r\n".to_vec(),
        (b"", Protocol::Resp3) => b"_\r\n".to_vec(),
        (name, _) => bulk(name),
    }
}

fn set_name(name: &[u8], client: &mut Client) -> Result<(), Vec<u8>> {
    client.set_name(name).map_err(|why| match why {
        InvalidName::TooLong => {
            format!("ERR Client names cannot be longer than {NAME_MAX} bytes").into_bytes()
        }
        InvalidName::NotPrintable => {
            b"ERR Client names cannot contain spaces, newlines or special characters.".to_vec()
        }
    })
}

fn check_info(option: &[u8], text: &[u8]) -> Answer {
    if !is(option, "lib-name") && !is(option, "lib-ver") {
        return Err([b"ERR Unrecognized option '", until_nul(option), b"'"].concat());
    }
    if !is_printable(text) {
        return Err([
            b"ERR ",
            until_nul(option),
            b" cannot contain spaces, newlines or special characters.",
        ]
        .concat());
    }
    Ok(OK.to_vec())
}

/// `AUTH [USER] PASSWORD`.
fn auth(mut words: Words<'_>) -> Answer {
    match words.left() {
        0 => Err(wrong_number("auth")),
        1 => Err(NO_PASSWORD.to_vec()),
        2 => log_in(&words.word()).map(|()| OK.to_vec()),
        _ => Err(b"ERR syntax error".to_vec()),
    }
}

/// The only user is `default`, whom any password lets in, as in a Redis without a password.
fn log_in(user: &[u8]) -> Result<(), Vec<u8>> {
    if user == b"default" {
        Ok(())
    } else {
        Err(WRONG_PASSWORD.to_vec())
    }
}

/// `SELECT 0`.
fn select(mut words: Words<'_>) -> Answer {
    let (Some(index), 0) = (words.next(), words.left()) else {
        return Err(wrong_number("select"));
    };
    match decimal(&index).map(i32::try_from) {
        Some(Ok(0)) => Ok(OK.to_vec()),
        Some(Ok(_)) => Err(b"ERR DB index is out of range".to_vec()),
        Some(Err(_)) => Err(format!(
            "ERR value is out of range, value must between {} and {}",
            i32::MIN,
            i32::MAX
        )
        .into_bytes()),
        None => Err(b"ERR value is not an integer or out of range".to_vec()),
    }
}

fn reset(words: Words<'_>, client: &mut Client) -> Answer {
    if words.left() > 0 {
        return Err(wrong_number("reset"));
    }
    client.reset();
    Ok(b"+RESET\r\n".to_vec())
}

/// `COMMAND [COUNT | DOCS [NAME...]]`, of no command at all: there are none with keys, which is
/// what clients look for.
fn command(mut words: Words<'_>, protocol: Protocol) -> Answer {
    let Some(subcommand) = words.next() else {
        return Ok(b"*0\r\n".to_vec());
    };
    let says = |name: &str| subcommand.eq_ignore_ascii_case(name.as_bytes());
    match (words.left(), protocol) {
        (0, _) if says("count") => Ok(b":0\r\n".to_vec()),
        (_, _) if says("count") => Err(wrong_number("command|count")),
        (_, Protocol::Resp2) if says("docs") => Ok(b"*0\r\n".to_vec()),
        (_, Protocol::Resp3) if says("docs") => Ok(b"%0\r\n".to_vec()),
        _ => Err(unknown_subcommand(&subcommand, "COMMAND")),
    }
}

/// `INFO [SECTION...]`; sections that are not here are left out, as in Redis.
fn info(words: Words<'_>, protocol: Protocol) -> Vec<u8> {
    let mut wanted = [words.left() == 0; INFO.len()];
    for word in words {
        let says = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let all = INFO_ALL.into_iter().any(says);
        for (wanted, (name, _)) in wanted.iter_mut().zip(INFO) {
            *wanted |= all || says(name);
        }
    }
    let sections = INFO
        .iter()
        .zip(wanted)
        .filter(|(_, wanted)| *wanted)
        .map(|(section, _)| info_section(section));
    let sections: Vec<String> = sections.collect();
    let text = sections.join("\r\n");
    match protocol {
        Protocol::Resp2 => bulk(text.as_bytes()),
        Protocol::Resp3 => format!("={}\r\ntxt:{text}\r\n", "txt:".len() + text.len()).into_bytes(),
    }
}

fn info_section((name, fields): &(&str, &[(&str, &str)])) -> String {
    let lines: String = fields
        .iter()
        .map(|(field, value)| format!("{field}:{value}\r\n"))
        .collect();
    format!("# {name}\r\n{lines}")
}

fn unknown_subcommand(subcommand: &[u8], command: &str) -> Vec<u8> {
    [
        b"ERR unknown subcommand '",
        cut(subcommand, QUOTED_MAX),
        b"'. Try ",
        command.as_bytes(),
        b" HELP.",
    ]
    .concat()
}

fn bulk(text: &[u8]) -> Vec<u8> {
    let (header, length) = bulk_header(text.len());
    [&header[..length], text, b"\r\n"].concat()
}

#[cfg(test)]
mod tests {
    use super::super::reply::{Reply, answer};
    use super::super::resp::{Limits, parse};
    use super::*;
    use corelane::Step;

    const LIMITS: Limits = Limits {
        inline_max: 4096,
        bulk_max: 4096,
        arguments_max: 64,
    };

    /// One connection's client.
    struct Asked(Client, Ids);

    impl Asked {
        fn new() -> Self {
            Self(Client::default(), Ids::of_shard(6, 8))
        }

        /// The reply to a line.
        fn say(&mut self, line: &str) -> String {
            let frame = [line.as_bytes(), b"\r\n"].concat();
            let Step::Frame { value, .. } = parse(&frame, &LIMITS) else {
                panic!("{line:?} is no request")
            };
            match answer(value, &frame, &mut self.0, &self.1) {
                Reply::Whole(reply) => {
                    String::from_utf8(reply).unwrap_or_else(|_| panic!("{line:?}"))
                }
                other => panic!("{line:?} was answered with {other:?}"),
            }
        }
    }

    #[test]
    fn a_hello_that_fails_changes_no_protocol() {
        let mut asked = Asked::new();
        for refused in [
            "HELLO 3 AUTH bob x SETNAME me",
            "HELLO 3 AUTH default",
            "HELLO 3 x",
            "HELLO 4 SETNAME me",
        ] {
            assert!(asked.say(refused).starts_with('-'), "{refused}");
            assert_eq!(
                (asked.0.protocol(), asked.0.name()),
                (Protocol::Resp2, &b""[..]),
                "{refused}"
            );
        }
        assert!(
            asked
                .say("HELLO 3 AUTH default x SETNAME you SETNAME me")
                .starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n")
        );
        assert_eq!(
            (asked.0.protocol(), asked.0.name()),
            (Protocol::Resp3, &b"me"[..])
        );
    }

    #[test]
    fn hello_without_a_version_changes_none() {
        let mut asked = Asked::new();
        assert!(asked.say("HELLO").starts_with("*14\r\n"));
        asked.say("HELLO 3");
        assert!(asked.say("HELLO").starts_with("%7\r\n"));
        assert!(
            asked
                .say("HELLO 2")
                .contains("proto\r\n:2\r\n$2\r\nid\r\n:7\r\n"),
            "the number stays"
        );
    }

    #[test]
    fn what_the_protocols_differ_in() {
        let mut asked = Asked::new();
        let questions = [
            "CLIENT GETNAME",
            "COMMAND DOCS ping",
            "INFO cluster",
            "INFO none",
        ];
        let replies = |asked: &mut Asked| questions.map(|question| asked.say(question));
        let cluster = "# Cluster\r\ncluster_enabled:0\r\n\r\n";
        assert_eq!(
            replies(&mut asked),
            [
                "$-1\r\n",
                "*0\r\n",
                &format!("$30\r\n{cluster}"),
                "$0\r\n\r\n"
            ]
        );
        asked.say("HELLO 3");
        assert_eq!(
            replies(&mut asked),
            [
                "_\r\n",
                "%0\r\n",
                &format!("=34\r\ntxt:{cluster}"),
                "=4\r\ntxt:\r\n"
            ]
        );
    }

    #[test]
    fn a_name_is_kept_until_it_is_taken_away() {
        let mut asked = Asked::new();
        assert_eq!(asked.say("CLIENT SETNAME me"), "+OK\r\n");
        assert!(
            asked
                .say("CLIENT SETNAME \"a b\"")
                .starts_with("-ERR Client names cannot contain")
        );
        assert_eq!(asked.say("client getname"), "$2\r\nme\r\n");
        assert_eq!(asked.say("CLIENT SETNAME \"\""), "+OK\r\n");
        assert_eq!(asked.say("CLIENT GETNAME"), "$-1\r\n");
    }

    #[test]
    fn a_name_has_a_bound() {
        let mut asked = Asked::new();
        let (longest, longer) = ("n".repeat(NAME_MAX), "n".repeat(NAME_MAX + 1));
        assert_eq!(asked.say(&format!("CLIENT SETNAME {longest}")), "+OK\r\n");
        let refused = "-ERR Client names cannot be longer than 256 bytes\r\n";
        assert_eq!(asked.say(&format!("CLIENT SETNAME {longer}")), refused);
        assert_eq!(asked.say(&format!("HELLO 3 SETNAME {longer}")), refused);
        assert_eq!(
            asked.say("CLIENT GETNAME"),
            format!("$256\r\n{longest}\r\n")
        );
    }

    #[test]
    fn what_a_library_tells_of_itself_is_checked_as_redis_7_2_does() {
        let mut asked = Asked::new();
        for (line, reply) in [
            ("CLIENT SETINFO LIB-NAME redis-py", "+OK\r\n"),
            ("client setinfo lib-ver \"\"", "+OK\r\n"),
            (
                "CLIENT SETINFO lib-name \"a b\"",
                "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n",
            ),
            (
                "CLIENT SETINFO \"x\\r\\ny\" z",
                "-ERR Unrecognized option 'x  y'\r\n",
            ),
            (
                "CLIENT SETINFO lib-ver",
                "-ERR wrong number of arguments for 'client|setinfo' command\r\n",
            ),
        ] {
            assert_eq!(asked.say(line), reply, "{line}");
        }
        assert_eq!(asked.say("CLIENT ID"), ":7\r\n");
    }

    #[test]
    fn an_error_is_one_line_whatever_was_said() {
        let mut asked = Asked::new();
        let odd = "\"a\\r\\nb\\x00c\"";
        for line in [
            format!("HELLO 3 {odd}"),
            format!("CLIENT {odd}"),
            format!("COMMAND {odd}"),
            format!("CLIENT SETINFO {odd} x"),
        ] {
            let reply = asked.say(&line);
            assert!(
                reply.starts_with("-ERR ") && reply.contains("'a  b'"),
                "{reply:?}"
            );
            assert_eq!(reply.find("\r\n"), Some(reply.len() - 2), "{reply:?}");
        }
    }
}
