//! What a path asks for. Pure and total: any text in, a route or a mistake out.

/// Longest name of a topic, in bytes.
const TOPIC_MAX: usize = 64;

pub(crate) const NO_TOPIC: &str = "the name of a topic is 1 to 64 letters, digits, '-', '_' or '.'";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'p> {
    Page,
    Health,
    Publish(&'p str),
    Subscribe(&'p str),
    /// Its topic has no name that may be.
    BadTopic,
    Unknown,
}

pub(crate) fn of_path(path: &str) -> Route<'_> {
    if let Some(name) = path.strip_prefix("/publish/") {
        return topic(name).map_or(Route::BadTopic, Route::Publish);
    }
    if let Some(name) = path.strip_prefix("/subscribe/") {
        return topic(name).map_or(Route::BadTopic, Route::Subscribe);
    }
    match path {
        "/" => Route::Page,
        "/health" => Route::Health,
        _ => Route::Unknown,
    }
}

impl Route<'_> {
    /// The methods that it answers, as `Allow` has them.
    pub(crate) fn methods(&self) -> &'static str {
        match self {
            Self::Publish(_) => "POST, OPTIONS",
            Self::Subscribe(_) => "GET, OPTIONS",
            _ => "GET, HEAD",
        }
    }
}

fn topic(name: &str) -> Option<&str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_name = (1..=TOPIC_MAX).contains(&name.len()) && name.bytes().all(is_plain);
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_path_has_its_route() {
        for (path, route) in [
            ("/", Route::Page),
            ("/health", Route::Health),
            ("/publish/a", Route::Publish("a")),
            ("/subscribe/News_1.x-y", Route::Subscribe("News_1.x-y")),
            ("/publish/", Route::BadTopic),
            ("/publish/a/b", Route::BadTopic),
            ("/subscribe/a%20b", Route::BadTopic),
            ("/subscribe/\u{e9}", Route::BadTopic),
            ("", Route::Unknown),
            ("//", Route::Unknown),
            ("/health/", Route::Unknown),
            ("/publish", Route::Unknown),
            ("/Publish/a", Route::Unknown),
            ("*", Route::Unknown),
        ] {
            assert_eq!(of_path(path), route, "{path}");
        }
    }

    #[test]
    fn the_longest_name_is_as_long_as_it_is_told() {
        assert!(NO_TOPIC.contains(&format!(" {TOPIC_MAX} ")));
        let longest = "a".repeat(TOPIC_MAX);
        assert_eq!(
            of_path(&format!("/publish/{longest}")),
            Route::Publish(&longest)
        );
        assert_eq!(of_path(&format!("/publish/{longest}a")), Route::BadTopic);
    }

    proptest! {
        #[test]
        fn any_path_is_a_route_or_a_mistake(path in "(/|/health|/publish/|/subscribe/|)\\PC{0,70}") {
            if let Route::Publish(topic) | Route::Subscribe(topic) = of_path(&path) {
                prop_assert!(path.ends_with(topic) && super::topic(topic).is_some());
            }
        }
    }
}
