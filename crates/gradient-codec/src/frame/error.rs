//! Why a frame is refused.

/// Why a frame was refused: one variant for every rule of the format it can break.
///
/// `found` is what the bytes say, `expected` what the plan says.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[allow(missing_docs)] // found, expected, index: as said above
pub enum FrameError {
    /// There is no whole header.
    #[error("parse a frame of {found} bytes: the header alone has 64")]
    Truncated { found: usize },
    /// Not a frame at all.
    #[error("parse a frame that begins with {found:02x?} instead of GCDF")]
    Magic { found: [u8; 4] },
    /// Written by another version of the format.
    #[error("parse a frame of version {found}: this is version {expected}")]
    Version { found: u16, expected: u16 },
    /// The header is damaged.
    #[error("parse a frame header: its checksum does not hold")]
    HeaderChecksum,
    /// Another width than planned.
    #[error("parse a frame of {found} bits per coordinate where {expected} were planned")]
    Bits { found: u8, expected: u8 },
    /// Another scale kind than planned.
    #[error("parse a frame of scale kind {found} where {expected} was planned")]
    Scale { found: u8, expected: u8 },
    /// Another kind of levels than planned.
    #[error("parse a frame of levels kind {found} where {expected} was planned")]
    Levels { found: u8, expected: u8 },
    /// Rounded with another generator than planned.
    #[error("parse a frame rounded by generator {found} where {expected} was planned")]
    Generator { found: u8, expected: u8 },
    /// Another bucket size than planned.
    #[error("parse a frame of log2 bucket {found} where {expected} was planned")]
    Bucket { found: u8, expected: u8 },
    /// Another segment size than this format has.
    #[error("parse a frame of log2 segment {found} where {expected} was planned")]
    Segment { found: u8, expected: u8 },
    /// Other flags than planned.
    #[error("parse a frame with flags {found:#x} where {expected:#x} were planned")]
    Flags { found: u32, expected: u32 },
    /// Another number of coordinates than planned.
    #[error("parse a frame of {found} coordinates where {expected} were planned")]
    Coordinates { found: u64, expected: u64 },
    /// A frame of another round.
    #[error("parse a frame of iteration {found} in iteration {expected}")]
    Iteration { found: u64, expected: u64 },
    /// A frame of another worker.
    #[error("parse a frame of worker {found} where worker {expected}'s was due")]
    Worker { found: u32, expected: u32 },
    /// Another tail length than planned.
    #[error("parse a frame with a tail of {found} values where {expected} were planned")]
    Tail { found: u64, expected: u64 },
    /// A key where neither coordinates nor rotations are drawn.
    #[error("parse a frame with key {found:#x} but nothing random to be known")]
    Key { found: u64 },
    /// Another rotation than the one that all workers share.
    #[error(
        "parse a frame rotated with key {found:#x} where all workers share {expected:#x}: do all have \
         the same seed?"
    )]
    Rotation { found: u64, expected: u64 },
    /// Another number of entries than planned.
    #[error("parse a frame of {found} entries where {expected} were planned")]
    Entries { found: u32, expected: u32 },
    /// The frame is not as long as its contents.
    #[error("parse a frame of {found} bytes that should have {expected}")]
    Length { found: usize, expected: usize },
    /// Body or tail are damaged.
    #[error("parse a frame: the checksum of its payload does not hold")]
    PayloadChecksum,
    /// The header's step is negative, not finite, too large, or there should be none.
    #[error("parse a frame with step {found:e} in its header")]
    HeaderStep { found: f32 },
    /// A bucket's step is negative, not finite or too large.
    #[error("parse a frame with step {found:e} for the bucket at coordinate {index}")]
    Step { index: usize, found: f32 },
    /// The padding behind the steps of the segment at coordinate `index` is not zero.
    #[error("parse a frame with non-zero padding in the segment at coordinate {index}")]
    StepPadding { index: usize },
    /// The code that no level has, in the block at coordinate `index`.
    #[error("parse a frame with an unused code in the block at coordinate {index}")]
    UnusedCode { index: usize },
    /// Coordinates behind the last one are not zero.
    #[error("parse a frame with non-zero padding behind its last coordinate")]
    CodePadding,
    /// A raw f32 near coordinate `index` (same block of 512) is not finite.
    #[error("parse a frame with a value that is not finite in the block at coordinate {index}")]
    NotFinite { index: usize },
    /// The value of an entry is not finite.
    #[error("parse a sparse frame whose entry {entry} is not finite")]
    EntryNotFinite { entry: usize },
    /// The index of an entry is not above the one before, or beyond the last coordinate.
    #[error(
        "parse a sparse frame whose entry {entry} is for coordinate {found}, out of order or range"
    )]
    EntryIndex { entry: usize, found: u64 },
    /// The bits behind the last index are not zero.
    #[error("parse a sparse frame with non-zero padding behind its last index")]
    IndexPadding,
    /// A tail value is not finite.
    #[error("parse a frame whose tail value {index} is not finite")]
    TailNotFinite { index: usize },
}
