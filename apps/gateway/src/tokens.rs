//! Who may publish and subscribe: a file of bearer tokens (RFC 6750).

use std::collections::hash_map::RandomState;
use std::fmt;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::hint::black_box;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shortest and longest token, in bytes: what is shorter can be guessed.
const TOKEN_MIN: usize = 16;
const TOKEN_MAX: usize = 256;
/// Largest file: some thousand tokens, each of which is compared for each request.
const FILE_MAX: u64 = 256 * 1024;

/// Whoever is neither the file's user nor of its group may read it.
const OTHERS_READ: u32 = 0o004;

const LINE_FORM: &str =
    "expected NAME TOKEN RIGHTS, with RIGHTS publish, subscribe or publish,subscribe";

/// Hashes so that what a mark in the log was made of cannot be tried out.
static MARKS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What somebody may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Publish,
    Subscribe,
}

/// The setting `tokens_file`: a path, and what the file had in it when the settings were read.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenFile {
    path: String,
    content: Option<Result<Content, String>>,
}

#[derive(Clone, Debug)]
struct Content {
    tokens: Arc<[Token]>,
    mark: String,
    /// Any user of the machine may read it.
    is_public: bool,
}

#[derive(PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) secret: Box<[u8]>,
    pub(crate) may_publish: bool,
    pub(crate) may_subscribe: bool,
}

/// What is printed of it is no secret.
impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Token")
            .field("may_publish", &self.may_publish)
            .field("may_subscribe", &self.may_subscribe)
            .finish_non_exhaustive()
    }
}

/// What comes of a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// There is none, or one that is not in the file.
    Unknown,
    /// It is somebody's without that right.
    NoRight,
}

impl TokenFile {
    fn read(path: String) -> Self {
        let content = (!path.is_empty()).then(|| read(Path::new(&path)));
        Self { path, content }
    }

    /// What is wrong with the file.
    pub(crate) fn fault(&self) -> Option<String> {
        self.content.as_ref()?.as_ref().err().cloned()
    }

    /// What should be known of a file that can be used.
    pub(crate) fn warning(&self) -> Option<String> {
        let content = self.content.as_ref()?.as_ref().ok()?;
        content.is_public.then(|| {
            format!(
                "{} is for any user of this machine to read: run `chmod 640` on it, with the server's group",
                self.path
            )
        })
    }

    /// Tells one content from another, and nothing of either.
    pub(crate) fn mark(&self) -> Option<String> {
        let content = self.content.as_ref()?.as_ref().ok()?;
        Some(content.mark.clone())
    }

    /// Whether the bearer of `token` may do it. Without a file everybody may do everything; with one
    /// that was wrong nobody may do anything.
    pub(crate) fn judge(&self, token: Option<&[u8]>, right: Right) -> Verdict {
        match &self.content {
            None => Verdict::Allowed,
            Some(Err(_)) => Verdict::Unknown,
            Some(Ok(content)) => match token {
                Some(token) => judge(&content.tokens, token, right),
                None => Verdict::Unknown,
            },
        }
    }
}

/// Looks at all tokens, whatever the first ones are: the time tells neither whose it is nor how much
/// of it is right, only how long those of the file are.
pub(crate) fn judge(tokens: &[Token], given: &[u8], right: Right) -> Verdict {
    let (mut is_known, mut is_allowed) = (false, false);
    for token in tokens {
        let is_this = is_same(&token.secret, given);
        let has_right = match right {
            Right::Publish => token.may_publish,
            Right::Subscribe => token.may_subscribe,
        };
        is_known |= is_this;
        is_allowed |= is_this & has_right;
    }
    match (is_allowed, is_known) {
        (true, _) => Verdict::Allowed,
        (false, true) => Verdict::NoRight,
        (false, false) => Verdict::Unknown,
    }
}

/// In a time that depends on the lengths alone.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let bytes = one.iter().zip(other);
    let difference = bytes.fold(0, |sum, (one, other)| black_box(sum | (one ^ other)));
    (one.len() == other.len()) & (black_box(difference) == 0)
}

fn read(path: &Path) -> Result<Content, String> {
    let told = |error| format!("cannot read {}: {error}", path.display());
    // A pipe would stop whoever opens it until somebody writes: the thread that reloads, and drains.
    let metadata = fs::metadata(path).map_err(told)?;
    if !metadata.is_file() {
        return Err(format!("{} is no regular file", path.display()));
    }
    let mut text = String::new();
    // Not by its size: it may grow meanwhile.
    let mut file = File::open(path).map_err(told)?.take(FILE_MAX + 1);
    file.read_to_string(&mut text).map_err(told)?;
    if text.len() as u64 > FILE_MAX {
        return Err(format!("{} has more than {FILE_MAX} bytes", path.display()));
    }
    let tokens = parse(&text).map_err(|why| format!("{}:{why}", path.display()))?;
    let mark = format!(
        "{} tokens, {:08x}",
        tokens.len(),
        MARKS.hash_one(&text) as u32
    );
    Ok(Content {
        tokens: tokens.into(),
        mark,
        is_public: metadata.mode() & OTHERS_READ != 0,
    })
}

fn is_blank(line: &str) -> bool {
    line.trim().is_empty() || line.trim().starts_with('#')
}

/// The tokens, or which line is wrong and why; nothing of a token is told.
pub(crate) fn parse(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens: Vec<Token> = Vec::new();
    let lines = (1..).zip(text.lines());
    for (number, line) in lines.filter(|(_, line)| !is_blank(line)) {
        let token = parse_line(line).map_err(|why| format!("{number}: {why}"))?;
        if tokens.iter().any(|one| one.secret == token.secret) {
            return Err(format!("{number}: the same token as in a line before"));
        }
        tokens.push(token);
    }
    match tokens.is_empty() {
        true => Err(
            " no token: nobody could do anything; for no tokens at all leave app.tokens_file empty"
                .to_owned(),
        ),
        false => Ok(tokens),
    }
}

fn parse_line(line: &str) -> Result<Token, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_name, secret, rights] = words[..] else {
        return Err(LINE_FORM.to_owned());
    };
    if !(TOKEN_MIN..=TOKEN_MAX).contains(&secret.len()) {
        let length = secret.len();
        return Err(format!(
            "a token of {length} bytes, expected {TOKEN_MIN} to {TOKEN_MAX}: `openssl rand -hex 24` makes one"
        ));
    }
    if !secret.bytes().all(is_token_byte) {
        return Err("a token has letters, digits, '-', '.', '_' and '~' alone".to_owned());
    }
    let has = |right| rights.split(',').any(|one| one == right);
    if !rights
        .split(',')
        .all(|one| matches!(one, "publish" | "subscribe"))
    {
        return Err(LINE_FORM.to_owned());
    }
    Ok(Token {
        secret: secret.as_bytes().into(),
        may_publish: has("publish"),
        may_subscribe: has("subscribe"),
    })
}

/// What is allowed both behind `Bearer` (RFC 6750, 2.1) and in the name of a subprotocol (RFC 6455,
/// 4.1).
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

impl Serialize for TokenFile {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.path.serialize(to)
    }
}

impl<'de> Deserialize<'de> for TokenFile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADA: &str = "0123456789abcdef";
    const BOB: &str = "0123456789abcdeg";

    #[test]
    fn each_line_is_somebodys_token_and_rights() {
        let text = format!("# ours\n\nada {ADA} publish,subscribe\n  bob\t{BOB}  subscribe \n");
        let tokens = parse(&text).expect("it is fine");
        for (token, right, verdict) in [
            (ADA, Right::Publish, Verdict::Allowed),
            (ADA, Right::Subscribe, Verdict::Allowed),
            (BOB, Right::Subscribe, Verdict::Allowed),
            (BOB, Right::Publish, Verdict::NoRight),
            ("0123456789abcde", Right::Subscribe, Verdict::Unknown),
            ("0123456789abcdeff", Right::Subscribe, Verdict::Unknown),
            ("", Right::Subscribe, Verdict::Unknown),
        ] {
            assert_eq!(judge(&tokens, token.as_bytes(), right), verdict, "{token}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_its_token_is_not() {
        for (text, told) in [
            ("ada 0123456789abcdef", "1: expected NAME"),
            ("ada 0123456789abcdef publish more", "1: expected NAME"),
            ("ada 0123456789abcdef write", "1: expected NAME"),
            ("ada 0123456789abcdef publish,", "1: expected NAME"),
            ("\nada 0123456789abcde publish", "2: a token of 15 bytes"),
            ("ada 0123456789abcde/ publish", "1: a token has letters"),
            (
                "a 0123456789abcdef publish\nb 0123456789abcdef publish",
                "2: the same token",
            ),
            ("# nobody\n", "no token"),
            ("", "no token"),
        ] {
            let why = parse(text).expect_err(text);
            assert!(why.contains(told), "{text}: {why}");
            assert!(!why.contains("0123456789"), "{why}");
        }
        let long = format!("a {} publish", "x".repeat(TOKEN_MAX + 1));
        assert!(parse(&long).is_err_and(|why| why.contains("257 bytes")));
    }

    #[test]
    fn without_a_file_everybody_may_and_with_a_wrong_one_nobody() {
        let none = TokenFile::read(String::new());
        assert_eq!(none.judge(None, Right::Publish), Verdict::Allowed);
        assert_eq!((none.fault(), none.mark()), (None, None));
        let missing = TokenFile::read("/nowhere/tokens".to_owned());
        assert!(
            missing
                .fault()
                .is_some_and(|why| why.contains("cannot read /nowhere/tokens"))
        );
        assert_eq!(
            missing.judge(Some(ADA.as_bytes()), Right::Publish),
            Verdict::Unknown
        );
    }

    #[test]
    fn a_mark_tells_one_content_from_another() {
        let path = std::env::temp_dir().join(format!("gateway-tokens-{}", std::process::id()));
        let file = |text: String| {
            fs::write(&path, text).expect("it is written");
            TokenFile::read(path.display().to_string())
        };
        let (one, other) = (
            file(format!("a {ADA} publish")),
            file(format!("a {BOB} publish")),
        );
        let again = file(format!("a {ADA} publish"));
        fs::remove_file(&path).expect("it is there");
        assert!(one.fault().is_none() && one.mark().is_some());
        assert_ne!(one.mark(), other.mark());
        assert_eq!(one.mark(), again.mark());
        assert!(!format!("{:?}", one.mark()).contains(ADA));
        let secret = format!("{:?}", ADA.as_bytes());
        assert!(!format!("{one:?}").contains(secret.trim_matches(['[', ']'])));
    }

    #[test]
    fn a_file_has_a_bound_and_is_one() {
        let path = std::env::temp_dir().join(format!("gateway-long-{}", std::process::id()));
        fs::write(&path, "#".repeat(FILE_MAX as usize + 1)).expect("it is written");
        let long = TokenFile::read(path.display().to_string()).fault();
        fs::remove_file(&path).expect("it is there");
        assert!(long.is_some_and(|why| why.contains("has more than")));
        let endless = TokenFile::read("/dev/zero".to_owned()).fault();
        assert!(endless.is_some_and(|why| why.contains("is no regular file")));
    }

    #[test]
    fn bytes_are_the_same_or_not() {
        assert!(is_same(b"", b"") && is_same(b"ab", b"ab"));
        for (one, other) in [
            (&b"ab"[..], &b"ac"[..]),
            (b"ab", b"a"),
            (b"", b"a"),
            (b"bb", b"ab"),
        ] {
            assert!(!is_same(one, other));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_tokens_or_a_line_that_is_named(
            text in "((ada|#|) {0,2}[a-f0-9]{14,18}(/|) (publish|subscribe|,|publish,subscribe|x)(\n|\r\n| |)){0,4}|\\PC{0,40}",
            given in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            match parse(&text) {
                Ok(tokens) => {
                    prop_assert!(!tokens.is_empty());
                    for token in &tokens {
                        let publishes = judge(&tokens, &token.secret, Right::Publish);
                        prop_assert_eq!(publishes == Verdict::Allowed, token.may_publish);
                    }
                    prop_assert_eq!(judge(&tokens, &given, Right::Publish), Verdict::Unknown);
                }
                Err(why) => prop_assert!(!why.is_empty()),
            }
        }

        #[test]
        fn tokens_are_the_same_if_their_bytes_are(
            one in proptest::collection::vec(any::<u8>(), 0..4),
            other in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            prop_assert_eq!(is_same(&one, &other), one == other);
        }
    }
}
