//! `[listener.tls]` and `[upstream.NAME.tls]` for a program that was built without TLS.

use super::rig::refusals;

const ONE: &str = "[listener.tls]\ncertificate = '/a.crt'\nkey = '/a.key'\n";
const NAMED: &str = "[[listener]]\nname = 'public'\nlisten = '127.0.0.1:1'\n";
const UPSTREAM: &str =
    "[upstream.next]\naddr = '127.0.0.1:1'\n[upstream.next.tls]\nserver_name = 'a.test'\n";

#[test]
fn the_table_is_refused_with_what_to_build() {
    for (text, section) in [
        (ONE.to_owned(), "listener.tls"),
        (format!("{NAMED}{ONE}"), "listener.public.tls"),
        (UPSTREAM.to_owned(), "upstream.next.tls"),
    ] {
        let told = refusals(&text, &[]);
        assert_eq!(told.len(), 1, "{told:#?}");
        let expected = format!(
            "{section}: this program was built without TLS\n    help: build it with the feature tls"
        );
        assert!(told[0].contains(&expected), "{told:#?}");
    }
}
