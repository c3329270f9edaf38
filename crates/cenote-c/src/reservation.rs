//! `cenote_account_reserve` and its kin: bytes charged for memory that lies elsewhere.

use core::cell::RefCell;
use core::ffi::c_int;
use core::pin::pin;
use core::ptr;
use core::task::{Context, Poll};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Wake;
use std::time::{Duration, Instant};

use cenote::{Account, AllocError, Reservation};

use crate::account::cenote_account_t;
use crate::error::{Status, fail, guard, refused};
use crate::handle::{Kind, create, destroy, open};
use crate::pooled::figure;

/// `cenote_reservation_t`
#[repr(C)]
#[allow(non_camel_case_types, reason = "the name in C")]
pub struct cenote_reservation_t {
    _opaque: [u8; 0],
}

impl Kind for cenote_reservation_t {
    const INDEX: usize = 5;
    type Value = RefCell<Reservation>;
}

/// A handle for what `make` gives, of the account's.
///
/// # Safety
/// As for [`open`].
unsafe fn reserved(
    account: *mut cenote_account_t,
    make: impl FnOnce(&Account) -> Result<Reservation, Status>,
) -> *mut cenote_reservation_t {
    guard(ptr::null_mut(), || {
        // SAFETY: the caller's promise.
        match unsafe { open(account.cast_const()) } {
            Ok(account) => create(None, || make(account.value()).map(RefCell::new)),
            Err(_) => ptr::null_mut(),
        }
    })
}

/// Does something to a reservation that may be refused.
///
/// # Safety
/// As for [`open`].
unsafe fn change(
    reservation: *mut cenote_reservation_t,
    f: impl FnOnce(&mut Reservation) -> Result<(), Status>,
) -> c_int {
    let status = guard(Status::Internal, || {
        // SAFETY: the caller's promise.
        match unsafe { open(reservation.cast_const()) } {
            Ok(place) => match place.value().try_borrow_mut() {
                Ok(mut reservation) => f(&mut reservation).err().unwrap_or(Status::Ok),
                Err(_) => fail(Status::Busy, format_args!("the reservation is being changed")),
            },
            Err(status) => status,
        }
    });
    status.into()
}

fn told(result: Result<(), AllocError>) -> Result<(), Status> {
    result.map_err(|error| refused(&error))
}

/// That there are so many bytes to take away.
fn has(reservation: &Reservation, bytes: usize) -> Result<(), Status> {
    let all = reservation.bytes();
    if bytes <= all {
        return Ok(());
    }
    Err(fail(Status::Config, format_args!("{bytes} bytes of a reservation that has {all}")))
}

/// `cenote_reservation_t *cenote_account_reserve(cenote_account_t *account, size_t bytes)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_reserve(
    account: *mut cenote_account_t,
    bytes: usize,
) -> *mut cenote_reservation_t {
    let make = |account: &Account| account.try_reserve(bytes).map_err(|error| refused(&error));
    // SAFETY: the caller's promise.
    unsafe { reserved(account, make) }
}

/// `cenote_reservation_t *cenote_account_reserve_wait(cenote_account_t *account, size_t bytes, uint64_t milliseconds)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_reserve_wait(
    account: *mut cenote_account_t,
    bytes: usize,
    milliseconds: u64,
) -> *mut cenote_reservation_t {
    // SAFETY: the caller's promise.
    unsafe { reserved(account, |account| wait(account, bytes, milliseconds)) }
}

/// Wakes the thread that waits. (Rust's own handle on a thread of C's would stay after it.)
#[derive(Default)]
struct Waiter {
    woken: Mutex<bool>,
    change: Condvar,
}

impl Waiter {
    /// Waits until it is woken, or for so long; for ever, if that is `None`.
    fn wait(&self, time: Option<Duration>) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let sleeps = |woken: &mut bool| !*woken;
        let mut woken = match time {
            None => self.change.wait_while(woken, sleeps).unwrap_or_else(PoisonError::into_inner),
            Some(time) => {
                let waited = self.change.wait_timeout_while(woken, time, sleeps);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        *woken = false;
    }
}

impl Wake for Waiter {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.change.notify_one();
    }
}

fn wait(account: &Account, bytes: usize, milliseconds: u64) -> Result<Reservation, Status> {
    // One that is beyond all time is none.
    let until = Instant::now().checked_add(Duration::from_millis(milliseconds));
    let waiter = Arc::new(Waiter::default());
    let waker = waiter.clone().into();
    let mut context = Context::from_waker(&waker);
    let mut room = pin!(account.reserve(bytes));
    loop {
        if let Poll::Ready(answer) = room.as_mut().poll(&mut context) {
            return answer.map_err(|error| refused(&error));
        }
        match until.map(|until| until.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => break,
            left => waiter.wait(left),
        }
    }
    let (path, held) = (account.path(), account.held());
    let message = format_args!(
        "no room for {bytes} bytes in account {path} within {milliseconds} ms: it holds {held}"
    );
    Err(fail(Status::Limit, message))
}

/// `int cenote_reservation_destroy(cenote_reservation_t *reservation)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_destroy(
    reservation: *mut cenote_reservation_t,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { destroy(reservation) }.into()
}

/// `size_t cenote_reservation_bytes(const cenote_reservation_t *reservation)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_bytes(
    reservation: *const cenote_reservation_t,
) -> usize {
    let bytes = |value: &RefCell<Reservation>| value.try_borrow().map_or(0, |it| it.bytes());
    // SAFETY: the caller's promise.
    unsafe { figure(reservation, bytes) }
}

/// `int cenote_reservation_try_grow(cenote_reservation_t *reservation, size_t more)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_try_grow(
    reservation: *mut cenote_reservation_t,
    more: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { change(reservation, |reservation| told(reservation.try_grow(more))) }
}

/// `int cenote_reservation_grow(cenote_reservation_t *reservation, size_t more)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_grow(
    reservation: *mut cenote_reservation_t,
    more: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { change(reservation, |reservation| told(reservation.grow_or_tell(more))) }
}

/// `int cenote_reservation_shrink(cenote_reservation_t *reservation, size_t less)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_shrink(
    reservation: *mut cenote_reservation_t,
    less: usize,
) -> c_int {
    let shrink = |reservation: &mut Reservation| {
        has(reservation, less)?;
        reservation.shrink(less);
        Ok(())
    };
    // SAFETY: the caller's promise.
    unsafe { change(reservation, shrink) }
}

/// `int cenote_reservation_resize(cenote_reservation_t *reservation, size_t bytes)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_resize(
    reservation: *mut cenote_reservation_t,
    bytes: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { change(reservation, |reservation| told(reservation.resize(bytes))) }
}

/// `cenote_reservation_t *cenote_reservation_split(cenote_reservation_t *reservation, size_t bytes)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_split(
    reservation: *mut cenote_reservation_t,
    bytes: usize,
) -> *mut cenote_reservation_t {
    let mut part = ptr::null_mut();
    let split = |reservation: &mut Reservation| {
        has(reservation, bytes)?;
        // A handle first: where there is none to be had, nothing is split.
        part = create(None, || Ok(RefCell::new(reservation.split(bytes))));
        Ok(())
    };
    // SAFETY: the caller's promise.
    let _ = unsafe { change(reservation, split) };
    part
}

/// `int cenote_reservation_merge(cenote_reservation_t *reservation, cenote_reservation_t *other)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_reservation_merge(
    reservation: *mut cenote_reservation_t,
    other: *mut cenote_reservation_t,
) -> c_int {
    let merge = |into: &mut Reservation| {
        if reservation == other {
            return Err(fail(Status::Config, format_args!("a reservation merged into itself")));
        }
        // SAFETY: the caller's promise.
        let place = unsafe { open(other.cast_const()) }?;
        let mut from = place.value().borrow_mut();
        let (account, bytes) = (from.account().clone(), from.bytes());
        if *into.account() != account {
            let message = format_args!(
                "a reservation of account {} merged into one of {}",
                account.path(),
                into.account().path()
            );
            return Err(fail(Status::Config, message));
        }
        let all = from.split(bytes);
        into.merge(all).map_err(|_| Status::Internal)
    };
    // SAFETY: the caller's promise.
    let status = unsafe { change(reservation, merge) };
    if status != c_int::from(Status::Ok) {
        return status;
    }
    // SAFETY: the caller's promise.
    unsafe { destroy(other) }.into()
}

/// `size_t cenote_account_reserved(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_reserved(account: *const cenote_account_t) -> usize {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::reserved) }
}

/// `uint64_t cenote_account_overcommitted(const cenote_account_t *account)`
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cenote_account_overcommitted(account: *const cenote_account_t) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { figure(account, Account::overcommitted) }
}
