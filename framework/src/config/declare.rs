//! The form in which keys are declared: a `section!` makes of one entry for each key the field of
//! the settings with its default, how it is read, checked and printed, and what the documents say.
//!
//! ```text
//! section! {
//!     /// What the documents say of the section.
//!     struct Listener {
//!         /// What the key does.
//!         shipped backlog: u32 = Whole::of("connections", 1, 65_535), 4096;
//!     }
//! }
//! ```
//!
//! A `shipped` key stands in the files in configs/, a `documented` one in docs/settings.md alone.
//! One with `, live` behind its default changes while the server runs: whoever marks it has
//! `framework/src/shard/reload.rs`, or what else a reload reaches, apply it.
//! Behind the name stand the type of the field, what is expected of the value ([`Kind`]) and the
//! default, which may name the keys above. Keys in `after { .. }` have no field: only the defaults
//! of the others make something of them. A last line `..field: Group` takes in the keys of another
//! `section!`.
//!
//! [`Kind`]: super::kind::Kind

macro_rules! section {
    (@is_shipped shipped) => { true };
    (@is_shipped documented) => { false };
    (@is_live) => { false };
    (@is_live live) => { true };

    (
        $(#[doc = $comment:literal])+
        struct $Section:ident $(after {
            $(
                $(#[doc = $choice_doc:literal])+
                $choice_shown:ident $choice:ident: $Choice:ty = $choice_kind:expr, $choice_default:expr;
            )+
        })? {
            $(
                $(#[doc = $doc:literal])+
                $shown:ident $key:ident: $Type:ty = $kind:expr, $default:expr $(, $live:ident)?;
            )+
            $(..$group:ident: $Group:ty)?
        }
    ) => {
        $(#[doc = $comment])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $Section {
            $( $(#[doc = $doc])+ pub $key: $Type, )+
            $( #[doc = "The keys of that name."] pub $group: $Group, )?
        }

        impl Default for $Section {
            fn default() -> Self {
                $( $( let $choice: $Choice = $choice_default; )+ )?
                $( let $key: $Type = $default; )+
                Self { $( $key, )+ $( $group: <$Group>::default(), )? }
            }
        }

        impl $crate::config::entry::Group for $Section {
            const COMMENT: &'static [&'static str] = &[$( $comment ),+];

            fn keys() -> Vec<&'static str> {
                let keys = vec![$( $( stringify!($choice), )+ )? $( stringify!($key), )+];
                $(
                    let grouped = <$Group as $crate::config::entry::Group>::keys();
                    let keys = [keys, grouped].concat();
                )?
                keys
            }

            fn entries() -> Vec<$crate::config::entry::Entry> {
                use $crate::config::entry::Entry;
                let mut entries = Vec::new();
                $( $(
                    let $choice: $Choice = $choice_default;
                    let (key, shipped) = (stringify!($choice), section!(@is_shipped $choice_shown));
                    let about = [$( $choice_doc ),+];
                    entries.push(Entry::of(key, &about, shipped, &$choice_kind, &$choice));
                )+ )?
                $(
                    let $key: $Type = $default;
                    let (key, shipped) = (stringify!($key), section!(@is_shipped $shown));
                    let entry = Entry::of(key, &[$( $doc ),+], shipped, &$kind, &$key);
                    entries.push(Entry { live: section!(@is_live $( $live )?), ..entry });
                )+
                $( entries.extend(<$Group as $crate::config::entry::Group>::entries()); )?
                entries
            }

            fn read(section: &str, checker: &mut $crate::config::checker::Checker<'_>) -> Self {
                $( $(
                    let $choice: $Choice =
                        checker.value(section, stringify!($choice), &$choice_kind, $choice_default);
                )+ )?
                $(
                    let $key: $Type = checker.value(section, stringify!($key), &$kind, $default);
                )+
                Self {
                    $( $key, )+
                    $( $group: $crate::config::entry::Group::read(section, checker), )?
                }
            }

            fn read_over(
                base: &Self,
                section: &str,
                checker: &mut $crate::config::checker::Checker<'_>,
            ) -> Self {
                Self {
                    $(
                        $key: checker.value(section, stringify!($key), &$kind, base.$key.clone()),
                    )+
                    $(
                        $group: $crate::config::entry::Group::read_over(
                            &base.$group,
                            section,
                            checker,
                        ),
                    )?
                }
            }

            fn write(&self) -> Vec<(&'static str, $crate::config::value::Value)> {
                use $crate::config::kind::Kind;
                let written = vec![$( (stringify!($key), $kind.write(&self.$key)), )+];
                $(
                    let grouped = $crate::config::entry::Group::write(&self.$group);
                    let written = [written, grouped].concat();
                )?
                written
            }
        }
    };
}

pub(super) use section;
