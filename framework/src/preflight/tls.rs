//! Whether the files of TLS can be used.

use crate::preflight::problem::Problem;
use crate::tls::FileProblem;

/// Why it cannot.
pub(super) fn problem(problem: &FileProblem) -> Problem {
    let FileProblem { what, why, remedy } = problem;
    Problem::new(what, why, remedy)
}

/// The first of those that came up behind the check: it has told the others.
pub(crate) fn first(problems: &[FileProblem]) -> Problem {
    let first = problems.first().map(problem);
    first.unwrap_or_else(|| {
        Problem::new(
            "cannot use the files of TLS",
            "they have changed",
            "start again",
        )
    })
}
