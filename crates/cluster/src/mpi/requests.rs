//! All nonblocking MPI requests of a rank, with the memory they use.
//!
//! This is the only module that calls MPI point-to-point functions, and it checks every return
//! code. rsmpi's own request types cannot express buffers that are reused while other requests
//! stay open, and ignore return codes; so the requests are raw, and the set owns what they touch:
//! a buffer is handed back only when MPI is done with it.

use crate::buffer::Landing;
use crate::error::TransportError;
use crate::message::CONTROL_BYTES;
use mpi::ffi;
use std::os::raw::{c_int, c_void};
use std::sync::Arc;

/// Identifies a request from its start until its completion has been handled: never reused, unlike
/// the place in the arrays, which is free again as soon as MPI is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ticket(u64);

/// A completed request.
#[derive(Debug)]
pub(crate) struct Completion {
    pub ticket: Ticket,
    /// The other side's rank.
    pub rank: usize,
    pub outcome: Result<Done, TransportError>,
}

/// What a completed request leaves behind.
#[derive(Debug)]
pub(crate) enum Done {
    /// A send's memory is free again.
    Sent,
    /// A control message.
    Control(Box<[u8; CONTROL_BYTES]>),
    /// The range given at the start, so many bytes, has been filled.
    Landed(usize),
}

/// What a request keeps alive while MPI may touch it.
enum Held {
    Free,
    ControlIn(*mut [u8; CONTROL_BYTES]),
    ControlOut(*mut [u8; CONTROL_BYTES]),
    Shared { _data: Arc<dyn Send + Sync> },
    Landing { _landing: Landing, bytes: usize },
}

/// A rank's nonblocking requests, polled together with one `MPI_Testsome`.
pub(crate) struct Requests {
    comm: ffi::MPI_Comm,
    requests: Vec<ffi::MPI_Request>,
    held: Vec<Held>,
    peers: Vec<usize>,
    calls: Vec<&'static str>,
    tickets: Vec<Ticket>,
    issued: u64,
    free: Vec<usize>,
    indices: Vec<c_int>,
    statuses: Vec<ffi::MPI_Status>,
}

impl Requests {
    /// An empty set on `comm`, whose error handler must be `MPI_ERRORS_RETURN`.
    pub fn new(comm: ffi::MPI_Comm) -> Self {
        Self {
            comm,
            requests: Vec::new(),
            held: Vec::new(),
            peers: Vec::new(),
            calls: Vec::new(),
            tickets: Vec::new(),
            issued: 0,
            free: Vec::new(),
            indices: Vec::new(),
            statuses: Vec::new(),
        }
    }

    /// Number of requests in flight.
    pub fn active(&self) -> usize {
        self.requests.len() - self.free.len()
    }

    /// Posts a receive for one control message.
    pub fn receive_control(&mut self, rank: usize, tag: i32) -> Result<Ticket, TransportError> {
        let memory = Box::into_raw(Box::new([0u8; CONTROL_BYTES]));
        let held = Held::ControlIn(memory);
        // SAFETY: `memory` is CONTROL_BYTES long and owned by the slot until completion.
        unsafe { self.receive(memory.cast(), CONTROL_BYTES, rank, tag, held) }
    }

    /// Posts a receive of `bytes` bytes into `landing` at `offset`.
    pub fn receive_into(
        &mut self,
        landing: &Landing,
        offset: usize,
        bytes: usize,
        rank: usize,
        tag: i32,
    ) -> Result<Ticket, TransportError> {
        let Some(memory) = landing.at(offset, bytes) else {
            return Err(TransportError::Protocol {
                rank,
                what: format!("{bytes} bytes at offset {offset} do not fit the buffer"),
            });
        };
        let held = Held::Landing {
            _landing: landing.clone(),
            bytes,
        };
        // SAFETY: the range lies in the landing's buffer, which the slot keeps alive; the caller's
        // ranges are disjoint and nobody reads before all handles are gone.
        unsafe { self.receive(memory.cast(), bytes, rank, tag, held) }
    }

    /// Sends one control message.
    pub fn send_control(
        &mut self,
        message: [u8; CONTROL_BYTES],
        rank: usize,
        tag: i32,
    ) -> Result<Ticket, TransportError> {
        let memory = Box::into_raw(Box::new(message));
        let held = Held::ControlOut(memory);
        // SAFETY: `memory` is CONTROL_BYTES long and owned by the slot until completion.
        unsafe { self.send(memory.cast(), CONTROL_BYTES, rank, tag, held) }
    }

    /// Sends `bytes` out of `data`, which stays borrowed until completion.
    ///
    /// # Errors
    /// If MPI refuses the call.
    ///
    /// # Panics
    /// If `range` is outside of `data`.
    pub fn send_shared<D: AsRef<[u8]> + Send + Sync + 'static>(
        &mut self,
        data: &Arc<D>,
        range: std::ops::Range<usize>,
        rank: usize,
        tag: i32,
    ) -> Result<Ticket, TransportError> {
        let part: &[u8] = &(**data).as_ref()[range];
        let (memory, bytes) = (part.as_ptr(), part.len());
        let held = Held::Shared {
            _data: data.clone(),
        };
        // SAFETY: the range lies in memory owned by the `Arc`, which the slot keeps alive, and
        // shared data is not written to.
        unsafe { self.send(memory.cast(), bytes, rank, tag, held) }
    }

    /// # Safety
    /// `memory` must be writable for `bytes` bytes until the request is complete, kept by `held`.
    unsafe fn receive(
        &mut self,
        memory: *mut c_void,
        bytes: usize,
        rank: usize,
        tag: i32,
        held: Held,
    ) -> Result<Ticket, TransportError> {
        let count = count(bytes, rank)?;
        // SAFETY: the null handle is a constant of the MPI library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        // SAFETY: by this function's contract.
        let code = unsafe {
            ffi::MPI_Irecv(
                memory,
                count,
                ffi::RSMPI_UINT8_T,
                rank as c_int,
                tag,
                self.comm,
                &mut request,
            )
        };
        self.keep("MPI_Irecv", code, request, rank, held)
    }

    /// # Safety
    /// `memory` must be readable for `bytes` bytes until the request is complete, kept by `held`.
    unsafe fn send(
        &mut self,
        memory: *const c_void,
        bytes: usize,
        rank: usize,
        tag: i32,
        held: Held,
    ) -> Result<Ticket, TransportError> {
        let count = count(bytes, rank)?;
        // SAFETY: the null handle is a constant of the MPI library.
        let mut request = unsafe { ffi::RSMPI_REQUEST_NULL };
        // SAFETY: by this function's contract.
        let code = unsafe {
            ffi::MPI_Isend(
                memory,
                count,
                ffi::RSMPI_UINT8_T,
                rank as c_int,
                tag,
                self.comm,
                &mut request,
            )
        };
        self.keep("MPI_Isend", code, request, rank, held)
    }

    fn keep(
        &mut self,
        call: &'static str,
        code: c_int,
        request: ffi::MPI_Request,
        rank: usize,
        held: Held,
    ) -> Result<Ticket, TransportError> {
        if code != ffi::MPI_SUCCESS as c_int {
            release(held);
            return Err(failure(call, rank, code));
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            // SAFETY: the null handle is a constant of the MPI library.
            self.requests.push(unsafe { ffi::RSMPI_REQUEST_NULL });
            self.held.push(Held::Free);
            self.peers.push(0);
            self.calls.push("");
            self.tickets.push(Ticket(0));
            self.requests.len() - 1
        });
        self.requests[slot] = request;
        self.held[slot] = held;
        self.peers[slot] = rank;
        self.calls[slot] = call;
        self.issued += 1;
        self.tickets[slot] = Ticket(self.issued);
        Ok(self.tickets[slot])
    }

    /// Tests all requests at once and appends those that are complete.
    ///
    /// # Errors
    /// If MPI fails as a whole; the failure of one request is in its [`Completion`].
    pub fn poll(&mut self, done: &mut Vec<Completion>) -> Result<(), TransportError> {
        let n = self.requests.len();
        self.indices.resize(n, 0);
        // SAFETY: MPI_Status is plain data for which all-zero bytes are valid.
        self.statuses
            .resize_with(n, || unsafe { std::mem::zeroed() });
        for status in &mut self.statuses {
            status.MPI_ERROR = 0; // MPI sets it only when it returns MPI_ERR_IN_STATUS
        }
        let mut count: c_int = 0;
        // SAFETY: the three arrays are n long and exclusively borrowed.
        let code = unsafe {
            ffi::MPI_Testsome(
                n as c_int,
                self.requests.as_mut_ptr(),
                &mut count,
                self.indices.as_mut_ptr(),
                self.statuses.as_mut_ptr(),
            )
        };
        let in_status = class(code) == ffi::MPI_ERR_IN_STATUS as c_int;
        if code != ffi::MPI_SUCCESS as c_int && !in_status {
            return Err(failure("MPI_Testsome", usize::MAX, code));
        }
        if count == ffi::MPI_UNDEFINED {
            return Ok(()); // nothing is active
        }
        for k in 0..count as usize {
            let slot = self.indices[k] as usize;
            let status = self.statuses[k];
            let rank = self.peers[slot];
            let held = std::mem::replace(&mut self.held[slot], Held::Free);
            self.free.push(slot);
            let outcome = if in_status && status.MPI_ERROR != ffi::MPI_SUCCESS as c_int {
                release(held);
                Err(failure(self.calls[slot], rank, status.MPI_ERROR))
            } else {
                finish(held, &status, rank)
            };
            done.push(Completion {
                ticket: self.tickets[slot],
                rank,
                outcome,
            });
        }
        Ok(())
    }
}

impl Drop for Requests {
    /// Leaks the memory of whatever MPI may still touch: a rank that drops active requests is on
    /// its way out, and waiting for them could hang.
    fn drop(&mut self) {
        for held in self.held.drain(..) {
            std::mem::forget(held);
        }
    }
}

/// Frees a slot's memory. Only for requests that MPI is done with.
fn release(held: Held) {
    if let Held::ControlIn(memory) | Held::ControlOut(memory) = held {
        // SAFETY: it came from Box::into_raw and is given back exactly once, here or in `finish`.
        drop(unsafe { Box::from_raw(memory) });
    }
}

fn finish(held: Held, status: &ffi::MPI_Status, rank: usize) -> Result<Done, TransportError> {
    match held {
        Held::ControlIn(memory) => {
            // SAFETY: it came from Box::into_raw and MPI is done with it.
            let message = unsafe { Box::from_raw(memory) };
            match received(status) {
                CONTROL_BYTES => Ok(Done::Control(message)),
                other => Err(TransportError::Protocol {
                    rank,
                    what: format!("a control message of {other} bytes"),
                }),
            }
        }
        Held::Landing { bytes, .. } => match received(status) {
            filled if filled == bytes => Ok(Done::Landed(bytes)),
            other => Err(TransportError::Protocol {
                rank,
                what: format!("{other} bytes where {bytes} were announced"),
            }),
        },
        sent => {
            release(sent);
            Ok(Done::Sent)
        }
    }
}

/// Bytes received, as MPI counts them.
fn received(status: &ffi::MPI_Status) -> usize {
    let mut count: c_int = 0;
    // SAFETY: a completed receive's status and a local out-parameter.
    let code = unsafe { ffi::MPI_Get_count(status, ffi::RSMPI_UINT8_T, &mut count) };
    if code == ffi::MPI_SUCCESS as c_int {
        usize::try_from(count).unwrap_or(usize::MAX)
    } else {
        usize::MAX
    }
}

fn count(bytes: usize, rank: usize) -> Result<c_int, TransportError> {
    c_int::try_from(bytes).map_err(|_| TransportError::Protocol {
        rank,
        what: format!("a message of {bytes} bytes, more than MPI counts"),
    })
}

fn class(code: c_int) -> c_int {
    let mut class = code;
    // SAFETY: a plain out-parameter.
    unsafe { ffi::MPI_Error_class(code, &mut class) };
    class
}

/// MPI's error code as an error.
pub(super) fn failure(call: &'static str, rank: usize, code: c_int) -> TransportError {
    let mut text = vec![0u8; ffi::MPI_MAX_ERROR_STRING as usize];
    let mut length: c_int = 0;
    // SAFETY: the buffer has the length that MPI demands.
    let known = unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut length) };
    let message = if known == ffi::MPI_SUCCESS as c_int {
        String::from_utf8_lossy(&text[..length.max(0) as usize]).into_owned()
    } else {
        format!("error {code}")
    };
    TransportError::Mpi {
        call,
        rank: i32::try_from(rank).unwrap_or(-1),
        message,
    }
}
