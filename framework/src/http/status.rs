//! Status codes (RFC 9110, 15).

use std::fmt;

/// A final status code: 200 to 599. Of 1xx the layer sends 100 and 101 itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(u16);

/// The codes that have a name here, with the phrases of RFC 9110, 15.
macro_rules! statuses {
    ($($name:ident $code:literal $phrase:literal;)*) => {
        impl Status {
            $(#[doc = concat!("`", $code, " ", $phrase, "`")]
            pub const $name: Self = Self($code);)*

            /// Its reason phrase; empty for a code without a name here.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $phrase,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    OK 200 "OK";
    CREATED 201 "Created";
    ACCEPTED 202 "Accepted";
    NO_CONTENT 204 "No Content";
    RESET_CONTENT 205 "Reset Content";
    PARTIAL_CONTENT 206 "Partial Content";
    MOVED_PERMANENTLY 301 "Moved Permanently";
    FOUND 302 "Found";
    SEE_OTHER 303 "See Other";
    NOT_MODIFIED 304 "Not Modified";
    TEMPORARY_REDIRECT 307 "Temporary Redirect";
    PERMANENT_REDIRECT 308 "Permanent Redirect";
    BAD_REQUEST 400 "Bad Request";
    UNAUTHORIZED 401 "Unauthorized";
    FORBIDDEN 403 "Forbidden";
    NOT_FOUND 404 "Not Found";
    METHOD_NOT_ALLOWED 405 "Method Not Allowed";
    NOT_ACCEPTABLE 406 "Not Acceptable";
    REQUEST_TIMEOUT 408 "Request Timeout";
    CONFLICT 409 "Conflict";
    GONE 410 "Gone";
    LENGTH_REQUIRED 411 "Length Required";
    PRECONDITION_FAILED 412 "Precondition Failed";
    CONTENT_TOO_LARGE 413 "Content Too Large";
    URI_TOO_LONG 414 "URI Too Long";
    UNSUPPORTED_MEDIA_TYPE 415 "Unsupported Media Type";
    RANGE_NOT_SATISFIABLE 416 "Range Not Satisfiable";
    EXPECTATION_FAILED 417 "Expectation Failed";
    MISDIRECTED_REQUEST 421 "Misdirected Request";
    UNPROCESSABLE_CONTENT 422 "Unprocessable Content";
    UPGRADE_REQUIRED 426 "Upgrade Required";
    TOO_MANY_REQUESTS 429 "Too Many Requests";
    HEADER_FIELDS_TOO_LARGE 431 "Request Header Fields Too Large";
    INTERNAL_SERVER_ERROR 500 "Internal Server Error";
    NOT_IMPLEMENTED 501 "Not Implemented";
    BAD_GATEWAY 502 "Bad Gateway";
    SERVICE_UNAVAILABLE 503 "Service Unavailable";
    GATEWAY_TIMEOUT 504 "Gateway Timeout";
    VERSION_NOT_SUPPORTED 505 "HTTP Version Not Supported";
}

impl Status {
    /// The status of that number; none if it is not 200 to 599.
    pub const fn new(code: u16) -> Option<Self> {
        match code {
            200..=599 => Some(Self(code)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// Whether an answer of it never has content (RFC 9110, 6.4.1 and 15.3.6).
    pub(super) fn has_no_content(self) -> bool {
        matches!(
            self,
            Self::NO_CONTENT | Self::RESET_CONTENT | Self::NOT_MODIFIED
        )
    }

    /// What its answer gives for `Content-Length`, `content` being the length that is known of what
    /// its handler gives. The head of a 205 does not end the answer (RFC 9112, 6.3), so 0 is told.
    pub(super) fn length_of(self, content: Option<u64>) -> Option<u64> {
        match self {
            Self::NO_CONTENT | Self::NOT_MODIFIED => None,
            Self::RESET_CONTENT => Some(0),
            _ => content,
        }
    }

    /// The status line, its end included (RFC 9112, 4).
    pub(super) fn write_line(self, to: &mut Vec<u8>) {
        let digits = [self.0 / 100, self.0 / 10 % 10, self.0 % 10];
        to.extend_from_slice(b"HTTP/1.1 ");
        to.extend(digits.map(|digit| b'0' + digit as u8));
        to.push(b' ');
        to.extend_from_slice(self.reason().as_bytes());
        to.extend_from_slice(b"\r\n");
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.0, self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_as_the_rfc_has_it() {
        let line = |status: Status| {
            let mut line = Vec::new();
            status.write_line(&mut line);
            String::from_utf8(line).unwrap_or_default()
        };
        assert_eq!(line(Status::OK), "HTTP/1.1 200 OK\r\n");
        assert_eq!(line(Status::NOT_FOUND), "HTTP/1.1 404 Not Found\r\n");
        let own = Status::new(599).expect("it is a final one");
        assert_eq!(
            line(own),
            "HTTP/1.1 599 \r\n",
            "the space stays (RFC 9112, 4)"
        );
        assert_eq!([Status::new(199), Status::new(600)], [None, None]);
    }
}
