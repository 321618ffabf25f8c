use std::fs;
use std::io::{Read, Write};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use super::*;
use crate::tls::client::ClientTls;
use crate::tls::judge::examine;
use crate::tls::plain;
use crate::tls::scratch::{Issued, Scratch, config, listener};

/// What is wrong, and what should be known.
fn judge(config: &Config) -> (Vec<FileProblem>, Vec<String>) {
    let examined = examine(config).into_iter();
    let (problems, warnings): (Vec<_>, Vec<_>) = examined
        .map(|examined| (examined.problems, examined.warnings))
        .unzip();
    (problems.concat(), warnings.concat())
}

fn opened(config: &Config) -> Keeper {
    Keeper::open(config).unwrap_or_else(|problems| panic!("{problems:?}"))
}

/// A client that trusts `NAME.crt`, and shows that certificate if it is asked for one.
fn client(scratch: &Scratch, name: &str) -> Arc<ClientConfig> {
    let (certificate, key) = (
        scratch.path(&format!("{name}.crt")),
        scratch.path(&format!("{name}.key")),
    );
    let builder = ClientTls::builder()
        .roots_of_file(&certificate)
        .certificate(certificate, key);
    Arc::clone(builder.build().expect("fine files").config())
}

/// Shakes hands: how, or why not.
fn shake(
    keeper: &Keeper,
    place: usize,
    client: &Arc<ClientConfig>,
) -> Result<HandshakeKind, rustls::Error> {
    let acceptances = keeper.acceptances();
    let acceptance = acceptances[place].as_ref().expect("it has TLS");
    let mut server = ServerConnection::new(Arc::clone(&acceptance.config))?;
    let name = ServerName::try_from("a.test").expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    for _ in 0..10 {
        pass(|to| client.write_tls(to), |from| server.read_tls(from));
        server.process_new_packets()?;
        pass(|to| server.write_tls(to), |from| client.read_tls(from));
        client.process_new_packets()?;
    }
    // What comes behind the handshake has come: tickets.
    let kind = server.handshake_kind();
    Ok(kind.expect("both ends have done all that they can"))
}

fn pass(
    mut write: impl FnMut(&mut dyn Write) -> std::io::Result<usize>,
    mut read: impl FnMut(&mut dyn Read) -> std::io::Result<usize>,
) {
    let mut bytes = Vec::new();
    while write(&mut bytes).expect("memory takes all") > 0 {}
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        read(&mut rest).expect("memory gives all");
    }
}

/// Looks until whatever has changed has settled.
fn look(keeper: &mut Keeper, config: &Config) -> Look {
    let first = keeper.look(keeper.next, config);
    if !matches!(first, Look::Same) {
        return first;
    }
    keeper.look(keeper.next + LOOK_EVERY, config)
}

#[test]
fn a_client_shakes_hands_in_full_and_then_by_its_ticket() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    for versions in ["['1.2']", "['1.3']"] {
        let listener = listener(&scratch, &format!("versions = {versions}\n"));
        let keeper = opened(&listener);
        let client = client(&scratch, "server");
        assert_eq!(
            shake(&keeper, 0, &client),
            Ok(HandshakeKind::Full),
            "{versions}"
        );
        assert_eq!(
            shake(&keeper, 0, &client),
            Ok(HandshakeKind::Resumed),
            "{versions}"
        );
    }
    let without = listener(&scratch, "tickets = false\n");
    let (keeper, client) = (opened(&without), client(&scratch, "server"));
    for _ in 0..2 {
        assert_eq!(shake(&keeper, 0, &client), Ok(HandshakeKind::Full));
    }
}

#[test]
fn why_a_client_refuses_a_certificate_is_told_in_words() {
    let scratch = Scratch::new();
    for (issued, told) in [
        (
            Issued::of_authority(&["a.test"]),
            "is an authority's (basicConstraints CA:TRUE)",
        ),
        (
            Issued::for_clients(&["a.test"]),
            "is not for servers (its extended key usage)",
        ),
        (
            Issued::of(&["b.test", "127.0.0.1"]),
            "is for b.test 127.0.0.1, and not for a.test",
        ),
        (
            Issued::of(&[]),
            "is for no DNS name and no IP address (subjectAltName), and not for a.test",
        ),
        (
            Issued::between(&["a.test"], (2000, 1, 1), (2001, 2, 3)),
            "expired on 2001-02-03",
        ),
    ] {
        scratch.issue("server", &issued);
        let keeper = opened(&listener(&scratch, ""));
        let error = shake(&keeper, 0, &client(&scratch, "server")).expect_err("it is refused");
        let words = plain(&error);
        assert!(
            words.starts_with(&format!("the peer's certificate {told}")),
            "{words}"
        );
    }
}

#[test]
fn a_ticket_is_good_at_its_listener_alone() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    let tls = "[listener.tls]\ncertificate = 'DIR/server.crt'\nkey = 'DIR/server.key'\n";
    let text = format!(
        "[[listener]]\nlisten = '127.0.0.1:1'\n{tls}\
         [[listener]]\nlisten = '127.0.0.1:2'\n{tls}client_ca = 'DIR/server.crt'\n\
         [[listener]]\nlisten = '127.0.0.1:3'\n"
    );
    let keeper = opened(&config(&scratch, &text));
    assert_eq!(keeper.made.stores.len(), 1, "they share the keys");
    let expiries = keeper.expiries();
    assert!(expiries[0].is_some() && expiries[1] == expiries[0] && expiries[2].is_none());
    assert!(keeper.acceptances()[2].is_none());
    let client = client(&scratch, "server");
    assert_eq!(shake(&keeper, 0, &client), Ok(HandshakeKind::Full));
    assert_eq!(shake(&keeper, 0, &client), Ok(HandshakeKind::Resumed));
    // It has a certificate, but nobody has asked for it yet.
    assert_ne!(shake(&keeper, 1, &client), Ok(HandshakeKind::Resumed));
}

#[test]
fn a_file_that_changes_is_in_force_at_the_next_look_and_a_bad_one_never() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    let listener = listener(&scratch, "");
    let mut keeper = opened(&listener);
    let old = client(&scratch, "server");
    assert_eq!(shake(&keeper, 0, &old), Ok(HandshakeKind::Full));
    assert!(matches!(look(&mut keeper, &listener), Look::Same));

    let new = Issued::of(&["a.test", "b.test"]);
    scratch.write("server.crt", new.certificate.pem());
    let Look::Failed(problems) = look(&mut keeper, &listener) else {
        panic!("the key is that of the certificate before");
    };
    assert!(
        problems[0]
            .to_string()
            .contains("it is not the key of the certificate"),
        "{problems:?}"
    );
    assert_eq!(
        shake(&keeper, 0, &old),
        Ok(HandshakeKind::Resumed),
        "as it was"
    );

    scratch.issue("server", &new);
    let Look::Changed(lines) = look(&mut keeper, &listener) else {
        panic!("it fits");
    };
    assert!(
        lines[0].contains("server.crt (listener.tls.certificate) is for a.test b.test until"),
        "{lines:?}"
    );
    let trusts_new = client(&scratch, "server");
    assert_eq!(shake(&keeper, 0, &trusts_new), Ok(HandshakeKind::Full));

    scratch.issue("server", &new);
    assert!(
        matches!(look(&mut keeper, &listener), Look::Same),
        "written again as it was"
    );
}

#[test]
fn an_expired_certificate_replaces_none_and_starts_all_the_same() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    let listener = listener(&scratch, "");
    let mut keeper = opened(&listener);
    scratch.issue(
        "server",
        &Issued::between(&["a.test"], (2001, 1, 1), (2002, 3, 4)),
    );
    let problems = keeper.prepare(&listener).expect_err("it has expired");
    assert!(
        problems[0].to_string().contains("it expired on 2002-03-04"),
        "{problems:?}"
    );
    assert!(matches!(look(&mut keeper, &listener), Look::Failed(_)));
    let started = opened(&listener);
    assert!(
        started.prepare(&listener).is_ok(),
        "in use it is no reason to refuse a reload"
    );
    let (problems, warnings) = judge(&listener);
    assert_eq!((problems.len(), warnings.len()), (0, 1));
    assert!(
        warnings[0].contains("expired on 2002-03-04"),
        "{warnings:?}"
    );
    let day = examine(&listener).remove(0).expires_on;
    assert_eq!(day.as_deref(), Some("2002-03-04"));
}

#[test]
fn tickets_outlive_a_change_of_key_and_a_restart_and_are_shared_by_two_processes() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    let file = "ticket_key_file = 'DIR/tickets'\n";
    let listener = listener(&scratch, file);
    assert_eq!(judge(&listener).0, []);
    assert!(!scratch.path("tickets").exists(), "a look makes nothing");
    let mut one = opened(&listener);
    let mut other = opened(&listener);
    let client = client(&scratch, "server");
    assert_eq!(shake(&one, 0, &client), Ok(HandshakeKind::Full));
    assert_eq!(shake(&other, 0, &client), Ok(HandshakeKind::Resumed));
    // The first has a new key, as after its lifetime.
    let old = &mut one.made.stores[0].keys.current.made;
    *old -= 12 * 3600;
    let text = fs::read_to_string(scratch.path("tickets")).expect("it is there");
    let (_, key) = text.split_once('\n').expect("a line");
    let (made, secret) = key.split_once(' ').expect("a key");
    let made: u64 = made.parse().expect("a number");
    let aged = format!("corelane ticket keys 1\n{} {secret}", made - 12 * 3600);
    fs::write(scratch.path("tickets"), aged).expect("it is ours");
    assert!(matches!(look(&mut one, &listener), Look::Changed(lines) if lines.is_empty()));
    assert_eq!(
        one.made.stores[0].keys.before.as_ref().map(|key| key.made),
        Some(made - 12 * 3600)
    );
    assert_eq!(
        shake(&one, 0, &client),
        Ok(HandshakeKind::Resumed),
        "by the key before"
    );
    assert!(matches!(look(&mut other, &listener), Look::Changed(_)));
    assert_eq!(
        shake(&other, 0, &client),
        Ok(HandshakeKind::Resumed),
        "by the new one"
    );
    assert_eq!(
        shake(&opened(&listener), 0, &client),
        Ok(HandshakeKind::Resumed)
    );
    fs::write(scratch.path("tickets"), "damaged").expect("it is ours");
    let problems = Keeper::open(&listener).expect_err("it is damaged");
    let told = problems[0].to_string();
    assert!(
        told.contains("(listener.tls.ticket_key_file), it is damaged"),
        "{told}"
    );
    assert_eq!(judge(&listener).0, problems);
}

#[test]
fn settings_change_what_clients_meet_and_a_wrong_file_among_them_changes_nothing() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    scratch.issue("client", &Issued::of(&["c.test"]));
    let plain = listener(&scratch, "");
    let mut keeper = opened(&plain);
    let client = client(&scratch, "server");
    assert_eq!(shake(&keeper, 0, &client), Ok(HandshakeKind::Full));
    let asks = listener(&scratch, "client_ca = 'DIR/client.crt'\n");
    let made = keeper.prepare(&asks).expect("fine");
    assert!(matches!(keeper.put_into_force(made), Look::Changed(lines) if lines.is_empty()));
    assert!(
        shake(&keeper, 0, &client).is_err(),
        "its ticket and certificate are of no use"
    );
    let missing = listener(&scratch, "client_ca = 'DIR/none.crt'\n");
    assert!(keeper.prepare(&missing).is_err());
    let made = keeper.prepare(&asks).expect("fine");
    assert!(matches!(keeper.put_into_force(made), Look::Same));
    let off = config(&scratch, "");
    let made = keeper.prepare(&off).expect("fine");
    assert!(matches!(keeper.put_into_force(made), Look::Changed(_)));
    assert!(keeper.acceptances()[0].is_none() && keeper.due().is_none());
}

#[test]
fn what_changed_before_it_was_watched_is_found_all_the_same() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    let listener = listener(&scratch, "");
    let mut keeper = opened(&listener);
    // As if the files had been read before this was there.
    scratch.issue("server", &Issued::of(&["a.test"]));
    keeper.watcher = Some(Watcher::new().expect("the kernel gives one"));
    keeper.watch();
    assert!(matches!(look(&mut keeper, &listener), Look::Changed(_)));
    assert!(
        matches!(look(&mut keeper, &listener), Look::Same),
        "and once"
    );
    assert!(
        keeper
            .watcher
            .as_mut()
            .is_some_and(|watcher| !watcher.look(keeper.next + LOOK_EVERY))
    );
}

#[test]
fn new_keys_are_told_although_the_certificate_is_bad() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    let listener = listener(&scratch, "");
    let mut keeper = opened(&listener);
    assert!(matches!(look(&mut keeper, &listener), Look::Same));
    keeper.made.stores[0].keys.current.made -= 12 * 3600;
    scratch.write("server.crt", "");
    assert!(matches!(look(&mut keeper, &listener), Look::Changed(lines) if lines.is_empty()));
    let failed = matches!(look(&mut keeper, &listener), Look::Failed(_));
    assert!(failed, "told apart, whichever comes first");
    keeper.made.stores[0].keys.current.made -= 12 * 3600;
    keeper
        .watcher
        .as_mut()
        .expect("there is one")
        .suspect(keeper.next - LOOK_EVERY);
    assert!(matches!(
        keeper.look(keeper.next, &listener),
        Look::Failed(_)
    ));
    assert!(matches!(
        keeper.look(keeper.next, &listener),
        Look::Changed(_)
    ));
}

#[test]
fn every_key_changes_what_shards_have_and_what_is_printed_of_that_has_no_secret() {
    let scratch = Scratch::new();
    let issued = Issued::of(&["a.test"]);
    scratch.issue("server", &issued);
    scratch.issue("other", &Issued::of(&["a.test"]));
    let other = "[listener.tls]\ncertificate = 'DIR/other.crt'\nkey = 'DIR/other.key'\n";
    let (before, other) = (listener(&scratch, ""), config(&scratch, other));
    let with = |key: &str| listener(&scratch, &format!("{key}\n"));
    let keys = [
        "client_ca = 'DIR/other.crt'",
        "client_ca = 'DIR/other.crt'\nclient_required = false",
        "alpn = ['x']",
        "versions = ['1.3']",
        "handshake_timeout = '1s'",
        "handshakes_per_turn_max = 7",
        "tickets = false",
        "ticket_key_lifetime = '1h'",
        "ticket_key_file = 'DIR/tickets'",
    ];
    for after in keys.map(with).into_iter().chain([other]) {
        let mut keeper = opened(&before);
        let made = keeper.prepare(&after).expect("fine");
        let told = keeper.put_into_force(made);
        assert!(matches!(told, Look::Changed(_)), "{:?}", after.tls);
        let acceptances = keeper.acceptances();
        let expected = opened(&after).acceptances();
        let [now, expected] = [acceptances, expected]
            .map(|all| format!("{:?}", all[0].as_ref().expect("it has TLS")));
        assert_eq!(now, expected, "as after a start");
        // The private scalar stands behind the heads of PKCS#8 and of the key in it.
        let secret = &issued.key.serialize_der()[36..44];
        let listed = format!("{secret:?}");
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!now.contains(listed.trim_matches(['[', ']'])) && !now.contains(&hex));
    }
}

/// By what the upstream `next` is met.
fn met(keeper: &Keeper) -> ClientTls {
    keeper.in_force().upstreams["next"].clone()
}

#[test]
fn files_of_an_upstream_change_with_those_of_listeners_or_not_at_all() {
    let scratch = Scratch::new();
    scratch.issue("server", &Issued::of(&["a.test"]));
    scratch.issue("ca", &Issued::of(&["ca.test"]));
    scratch.issue("me", &Issued::of(&["me.test"]));
    let upstream = "[upstream.next]\naddr = '127.0.0.1:1'\n[upstream.next.tls]\nca = 'DIR/ca.crt'\n\
         certificate = 'DIR/me.crt'\nkey = 'DIR/me.key'\n";
    let alone = config(&scratch, upstream);
    let mut keeper = opened(&alone);
    assert!(keeper.acceptances()[0].is_none() && keeper.due().is_some());
    let first = met(&keeper);
    assert!(matches!(look(&mut keeper, &alone), Look::Same));

    scratch.issue("ca", &Issued::of(&["ca.test"]));
    let Look::Changed(lines) = look(&mut keeper, &alone) else {
        panic!("another vouches for it");
    };
    assert!(
        lines[0].contains("ca.crt (upstream.next.tls.ca)"),
        "{lines:?}"
    );
    let second = met(&keeper);
    assert!(!second.is(&first));

    let both = listener(&scratch, upstream);
    let made = keeper.prepare(&both).expect("fine");
    assert!(matches!(keeper.put_into_force(made), Look::Changed(_)));
    assert!(met(&keeper).is(&second), "nothing of it has changed");
    scratch.issue("server", &Issued::of(&["b.test"]));
    scratch.issue(
        "me",
        &Issued::between(&["me.test"], (2001, 1, 1), (2002, 3, 4)),
    );
    let Look::Failed(problems) = look(&mut keeper, &both) else {
        panic!("what is shown has expired");
    };
    let told = problems[0].to_string();
    assert!(
        problems.len() == 1 && told.contains("(upstream.next.tls.certificate), it expired on"),
        "{problems:?}"
    );
    scratch.issue("me", &Issued::of(&["me.test"]));
    let Look::Changed(lines) = look(&mut keeper, &both) else {
        panic!("both fit");
    };
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!met(&keeper).is(&second));
}
