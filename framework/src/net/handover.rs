//! Descriptors on their way from one process to the next: messages on a Unix socket, each with a
//! line for each descriptor that comes along with it (unix(7), SCM_RIGHTS).

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// What every message begins with. Another version says another.
const VERSION: &str = "corelane handover 2";
/// The last line of the last message.
const END: &str = "end";
/// Descriptors of a message; the kernel takes 253 (SCM_MAX_FD).
const DESCRIPTORS_MAX: usize = 128;
/// Bytes of a message: so many lines, with room.
const MESSAGE_MAX: usize = 8192;

/// What a descriptor is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Stdin,
    /// The admin server's listener where it is looked at.
    Admin,
    /// The one where it is steered.
    Steering,
    /// A socket of the listener of that name: this shard's, or one for all shards.
    Listener {
        name: String,
        shard: u32,
    },
}

/// One line of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) role: Role,
    /// The service manager holds it too.
    pub(crate) kept: bool,
}

impl fmt::Display for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.role {
            Role::Stdin => out.write_str("stdin")?,
            Role::Admin => out.write_str("admin")?,
            Role::Steering => out.write_str("steer")?,
            Role::Listener { name, shard } => write!(out, "listener {name} {shard}")?,
        }
        out.write_str(if self.kept { " kept" } else { " own" })
    }
}

impl Entry {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let role = match words.next()? {
            "stdin" => Role::Stdin,
            "admin" => Role::Admin,
            "steer" => Role::Steering,
            "listener" => Role::Listener {
                name: words.next()?.to_owned(),
                shard: words.next()?.parse().ok()?,
            },
            _ => return None,
        };
        let kept = match words.next()? {
            "kept" => true,
            "own" => false,
            _ => return None,
        };
        words.next().is_none().then_some(Self { role, kept })
    }
}

/// What the new process says.
const READY: &[u8] = b"ready";

/// Sends all of it, while the other end receives. The socket keeps messages whole and in order.
///
/// # Errors
///
/// When the other end closes, or has not received all by `until`.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    all: &[(Entry, BorrowedFd<'_>)],
    until: Instant,
) -> io::Result<()> {
    for part in all.chunks(DESCRIPTORS_MAX) {
        let lines = part.iter().map(|(entry, _)| format!("\n{entry}"));
        let text = VERSION.to_owned() + &lines.collect::<String>();
        let descriptors: Vec<BorrowedFd<'_>> =
            part.iter().map(|(_, descriptor)| *descriptor).collect();
        send_message(socket, &text, &descriptors, until)?;
    }
    send_message(socket, &format!("{VERSION}\n{END}"), &[], until)
}

fn send_message(
    socket: BorrowedFd<'_>,
    text: &str,
    along: &[BorrowedFd<'_>],
    until: Instant,
) -> io::Result<()> {
    loop {
        match try_send_message(socket, text, along) {
            Err(Errno::AGAIN) => wait_for(socket, PollFlags::OUT, until)?,
            outcome => return Ok(outcome?),
        }
    }
}

fn try_send_message(
    socket: BorrowedFd<'_>,
    text: &str,
    along: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !along.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(along));
    }
    let text = [IoSlice::new(text.as_bytes())];
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &text, &mut ancillary, flags).map(drop)
}

/// Receives all of it, as it comes.
///
/// # Errors
///
/// When what comes is anything else, or there is no end of it.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Vec<(Entry, OwnedFd)>> {
    let mut all = Vec::new();
    loop {
        let (text, along) = receive_message(socket)?;
        let Some(entries) = read(&text)? else {
            return Ok(all);
        };
        if entries.is_empty() || entries.len() != along.len() {
            let (lines, came) = (entries.len(), along.len());
            return Err(io::Error::other(format!(
                "{lines} lines with {came} descriptors"
            )));
        }
        all.extend(entries.into_iter().zip(along));
    }
}

/// Tells the process before that this one serves.
pub(crate) fn tell_ready(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::net::send(socket, READY, SendFlags::NOSIGNAL).map(drop)?)
}

/// Waits for that; false if the new process has closed its end first.
///
/// # Errors
///
/// When it is not there by `until`, or says something else.
pub(crate) fn wait_ready(socket: BorrowedFd<'_>, until: Instant) -> io::Result<bool> {
    wait_for(socket, PollFlags::IN, until)?;
    let mut bytes = [0; READY.len() + 1];
    match rustix::net::recv(socket, &mut bytes, RecvFlags::empty()) {
        Ok((length, _)) if &bytes[..length] == READY => Ok(true),
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(false),
        Ok(_) => Err(io::Error::other("it speaks another version")),
        Err(error) => Err(error.into()),
    }
}

fn wait_for(socket: BorrowedFd<'_>, what: PollFlags, until: Instant) -> io::Result<()> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).ok();
        let mut set = [PollFd::from_borrowed_fd(socket, what)];
        match poll(&mut set, left.as_ref()) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn receive_message(socket: BorrowedFd<'_>) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; MESSAGE_MAX];
    let message = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let mut along = Vec::new();
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = part {
            along.extend(descriptors);
        }
    }
    let text = String::from_utf8_lossy(&bytes[..message.bytes]);
    Ok((text.into_owned(), along))
}

/// The lines of a message; none if it is the last one.
fn read(text: &str) -> io::Result<Option<Vec<Entry>>> {
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut lines = text.split('\n');
    if lines.next() != Some(VERSION) {
        let why = "the process before speaks another version";
        return Err(io::Error::other(why));
    }
    let mut entries = Vec::new();
    for line in lines {
        if line == END {
            return Ok(None);
        }
        let entry = Entry::parse(line);
        entries.push(entry.ok_or_else(|| io::Error::other(format!("the line `{line}`")))?);
    }
    Ok(Some(entries))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::fd::AsFd;
    use std::time::Duration;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn the_most_descriptors_that_there_may_be_arrive_in_their_order() {
        let (ours, theirs) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        let listeners = (0..16 * 1024).map(|number| Entry {
            role: Role::Listener {
                name: "x".repeat(32),
                shard: number % 1024,
            },
            kept: number % 2 == 0,
        });
        let others = [Role::Stdin, Role::Admin, Role::Steering];
        let others = others.map(|role| Entry { role, kept: false });
        let entries: Vec<Entry> = listeners.chain(others).collect();
        let all: Vec<_> = entries
            .iter()
            .map(|entry| (entry.clone(), null.as_fd()))
            .collect();
        let until = Instant::now() + Duration::from_secs(60);
        let received = std::thread::scope(|scope| {
            scope.spawn(|| send(ours.as_fd(), &all, until).unwrap());
            receive(theirs.as_fd()).unwrap()
        });
        let received: Vec<Entry> = received.into_iter().map(|(entry, _)| entry).collect();
        assert_eq!(received, entries);
        let late = send(ours.as_fd(), &all, Instant::now()).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut, "nobody receives");
        drop(theirs);
        assert!(send(ours.as_fd(), &all, until).is_err());
    }

    #[test]
    fn what_is_cut_short_or_of_another_version_is_refused() {
        for (text, why) in [
            ("", "end of file"),
            ("corelane handover 1\nend", "another version"),
            (
                "corelane handover 2\nlistener a x own",
                "`listener a x own`",
            ),
            ("corelane handover 2\nlistener a 1 own", "1 lines with 0"),
            ("corelane handover 2", "0 lines with 0"),
        ] {
            let (ours, theirs) = pair();
            if !text.is_empty() {
                send_message(ours.as_fd(), text, &[], Instant::now()).unwrap();
            }
            drop(ours);
            let error = receive(theirs.as_fd()).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #![proptest_config(crate::proptests::cases(1000))]

        #[test]
        fn any_line_is_refused_or_written_as_it_was(line in "(stdin|admin|steer|listener|x|) ?[a-z0-9 ]{0,11} ?(kept|own|x|)") {
            if let Some(entry) = Entry::parse(&line) {
                proptest::prop_assert_eq!(Entry::parse(&entry.to_string()), Some(entry));
            }
        }
    }
}
