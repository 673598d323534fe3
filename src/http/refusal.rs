//! Why a request is not even looked at.

/// The status of the response that says so, and words for its body. The connection ends with it: where the
/// next request would begin is not known, or not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400 to 505.
    pub status: u16,
    /// What is wrong.
    pub message: &'static str,
}

impl Refusal {
    /// With `status` and `message`.
    pub const fn new(status: u16, message: &'static str) -> Refusal {
        Refusal { status, message }
    }
}
