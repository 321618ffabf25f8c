use super::*;

const LIMITS: Limits = Limits {
    inline_max: 64,
    bulk_max: 100,
    arguments_max: 4,
};

/// What became of some bytes, in a form that can be compared.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    NeedMore,
    Frame(Vec<Vec<u8>>, usize),
    Invalid(&'static str),
}

fn outcome(step: Step<Request>, bytes: &[u8]) -> Outcome {
    match step {
        Step::NeedMore => Outcome::NeedMore,
        Step::Invalid(why) => Outcome::Invalid(why),
        Step::Frame { value, length } => Outcome::Frame(words(value, &bytes[..length]), length),
    }
}

fn words(request: Request, frame: &[u8]) -> Vec<Vec<u8>> {
    let words: Vec<Vec<u8>> = request
        .arguments(frame)
        .map(|argument| match argument {
            Argument::Plain(bytes) => bytes.to_vec(),
            Argument::Quoted(bytes) => unquote(bytes),
        })
        .collect();
    assert_eq!(words.len(), request.count() as usize);
    words
}

fn parsed(bytes: &[u8]) -> Outcome {
    outcome(parse(bytes, &LIMITS), bytes)
}

fn frame(words: &[&[u8]], length: usize) -> Outcome {
    Outcome::Frame(words.iter().map(|word| word.to_vec()).collect(), length)
}

#[test]
fn an_inline_request_ends_at_either_line_end() {
    assert_eq!(parsed(b"PING\r\nmore"), frame(&[b"PING"], 6));
    assert_eq!(parsed(b"ECHO x\nmore"), frame(&[b"ECHO", b"x"], 7));
    assert_eq!(parsed(b"\r\n"), frame(&[], 2));
    assert_eq!(parsed(b"  \t\n"), frame(&[], 4));
    assert_eq!(parsed(b"PING"), Outcome::NeedMore);
    assert_eq!(parsed(b""), Outcome::NeedMore);
}

#[test]
fn quotes_and_escapes_are_undone_as_redis_does() {
    assert_eq!(parsed(b"ECHO \"a b\"\n"), frame(&[b"ECHO", b"a b"], 11));
    assert_eq!(parsed(b"a\"b c\" d\n"), frame(&[b"ab c", b"d"], 9));
    assert_eq!(
        parsed(b"\"\\x41\\n\\q\\\"\\x4\"\n"),
        frame(&[b"A\nq\"x4"], 16)
    );
    assert_eq!(parsed(b"'it\\'s \\n'\n"), frame(&[b"it's \\n"], 11));
    assert_eq!(parsed(b"'' \"\"\n"), frame(&[b"", b""], 6));
    for unbalanced in [
        &b"\"a\n"[..],
        b"'a\n",
        b"\"a\"b\n",
        b"'a\\'\n",
        b"\"a\\\"\n",
        b"a\"\n",
    ] {
        assert_eq!(parsed(unbalanced), Outcome::Invalid(UNBALANCED));
    }
}

#[test]
fn an_array_is_read_bulk_by_bulk() {
    assert_eq!(parsed(b"*1\r\n$4\r\nPING\r\n*1"), frame(&[b"PING"], 14));
    assert_eq!(
        parsed(b"*2\r\n$1\r\n\n\r\n$0\r\n\r\n"),
        frame(&[b"\n", b""], 17)
    );
    assert_eq!(parsed(b"*0\r\n"), frame(&[], 4));
    assert_eq!(parsed(b"*-9223372036854775808\r\n"), frame(&[], 23));
    assert_eq!(parsed(b"*1\r\n$4\r\nPING\r"), Outcome::NeedMore);
    assert_eq!(parsed(b"*1\r"), Outcome::NeedMore);
}

#[test]
fn a_count_that_is_no_number_or_too_large_is_refused_from_the_header() {
    for count in [
        "",
        "x",
        "00",
        "+1",
        "-0",
        " 1",
        "1 ",
        "5",
        "4294967295",
        "9223372036854775808",
    ] {
        let header = format!("*{count}\r\n");
        assert_eq!(
            parsed(header.as_bytes()),
            Outcome::Invalid(INVALID_COUNT),
            "{count}"
        );
    }
}

#[test]
fn a_length_that_is_no_number_or_too_large_is_refused_from_the_header() {
    for length in [
        "",
        "x",
        "-1",
        "01",
        "101",
        "4294967295",
        "99999999999999999999999",
    ] {
        let header = format!("*1\r\n${length}\r\n");
        assert_eq!(
            parsed(header.as_bytes()),
            Outcome::Invalid(INVALID_LENGTH),
            "{length}"
        );
    }
}

#[test]
fn the_bulk_strings_of_a_request_share_one_bound() {
    let first = [&b"*2\r\n$99\r\n"[..], &[b'x'; 99], b"\r\n"].concat();
    assert_eq!(parsed(&[&first[..], b"$1\r\nx\r\n"].concat()), {
        let mut all = vec![vec![b'x'; 99]];
        all.push(b"x".to_vec());
        Outcome::Frame(all, first.len() + 7)
    });
    assert_eq!(
        parsed(&[&first[..], b"$2\r\n"].concat()),
        Outcome::Invalid(INVALID_LENGTH)
    );
}

#[test]
fn a_byte_that_is_no_dollar_is_remembered() {
    for (bytes, got) in [
        (&b"*1\r\n:1\r\n"[..], b':'),
        (b"*1\r\n\r\n", b'\r'),
        (b"*1\r\n\xff\r\n", 0xff),
    ] {
        let mut scan = Scan::default();
        assert!(matches!(
            scan.step(bytes, &LIMITS),
            Step::Invalid(EXPECTED_BULK)
        ));
        assert_eq!(scan.unexpected(), got);
    }
}

#[test]
fn an_endless_line_is_refused_at_its_bound() {
    let line = [b'x'; 66];
    assert_eq!(parsed(&line[..64]), Outcome::NeedMore);
    assert_eq!(parsed(&line[..65]), Outcome::Invalid(TOO_BIG_INLINE));
    let full = [&line[..64], b"\n"].concat();
    assert_eq!(parsed(&full), frame(&[&line[..64]], 65));
    let over = [&line[..65], b"\n"].concat();
    assert_eq!(parsed(&over), Outcome::Invalid(TOO_BIG_INLINE));

    let digits = [&b"*"[..], &[b'1'; 64]].concat();
    assert_eq!(parsed(&digits), Outcome::Invalid(TOO_BIG_COUNT));
    let digits = [&b"*1\r\n$"[..], &[b'1'; 64]].concat();
    assert_eq!(parsed(&digits), Outcome::Invalid(TOO_BIG_LENGTH));
}

#[test]
fn a_request_is_the_same_wherever_it_is_split() {
    let requests: [&[u8]; 10] = [
        b"PING\r\n",
        b"ECHO \"a \\x41\" 'b'\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"*3\r\n$4\r\nECHO\r\n$0\r\n\r\n$5\r\n\r\n$\r\n\r\n",
        b"*0\r\n",
        b"*9\r\n",
        b"*1\r\n$-7\r\n",
        b"*2\r\n$1\r\nx\r\n:1\r\n",
        b"'\r\n",
        &[b'x'; 70],
    ];
    for whole in requests {
        let expected = parsed(whole);
        assert_eq!(fed(whole, 1), expected, "{}", whole.escape_ascii());
        for split in 0..whole.len() {
            let mut scan = Scan::default();
            let first = outcome(scan.step(&whole[..split], &LIMITS), &whole[..split]);
            if first == Outcome::NeedMore {
                assert_eq!(outcome(scan.step(whole, &LIMITS), whole), expected);
            } else {
                assert_eq!(first, expected);
            }
        }
    }
}

/// Parses `bytes` arriving `step` at a time, until a verdict.
fn fed(bytes: &[u8], step: usize) -> Outcome {
    let mut scan = Scan::default();
    for end in (0..bytes.len()).step_by(step).chain([bytes.len()]) {
        let verdict = outcome(scan.step(&bytes[..end], &LIMITS), &bytes[..end]);
        if verdict != Outcome::NeedMore {
            return verdict;
        }
        assert!(
            end < LIMITS.frame_max(),
            "asked for more than a frame may have"
        );
    }
    Outcome::NeedMore
}

#[test]
fn random_bytes_never_panic_and_mean_the_same_in_any_pieces() {
    const SEED: u64 = 0x5eed_0001;
    const ALPHABET: &[u8] = b"**$$0011239-\r\n\r\n\r\n \"'\\xPING\0\xff";
    let mut state = SEED;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) as usize % below
    };
    for _ in 0..100_000 {
        let mut bytes: Vec<u8> = match random(4) {
            0 => b"*2\r\n$4\r\nECHO\r\n$3\r\n".to_vec(),
            1 => b"*1\r\n".to_vec(),
            _ => Vec::new(),
        };
        let length = random(300);
        bytes.extend((0..length).map(|_| match random(8) {
            0 => random(256) as u8,
            _ => ALPHABET[random(ALPHABET.len())],
        }));
        let step = 1 + random(40);
        assert_eq!(
            fed(&bytes, step),
            parsed(&bytes),
            "seed {SEED:#x}: {}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn a_long_request_in_single_bytes_takes_linear_time() {
    let limits = Limits {
        inline_max: 1 << 20,
        bulk_max: 1 << 20,
        arguments_max: 1 << 16,
    };
    let mut array = b"*65536\r\n".to_vec();
    (0..1 << 16).for_each(|_| array.extend_from_slice(b"$1\r\nx\r\n"));
    let mut line = vec![b'x'; 1 << 20];
    line.push(b'\n');
    // Were each call to start afresh this would be 10^11 steps, minutes rather than milliseconds.
    for bytes in [array, line] {
        let mut scan = Scan::default();
        let end = (1..=bytes.len())
            .find(|end| !matches!(scan.step(&bytes[..*end], &limits), Step::NeedMore));
        assert_eq!(end, Some(bytes.len()));
    }
}

#[test]
fn the_scan_is_a_small_part_of_an_idle_connection() {
    assert!(size_of::<Scan>() <= 32);
}
