//! Files that end with a pool: descriptors to close, paths to delete.

use crate::cleanup::{Cleanup, CleanupKey};
use crate::sync::Lock;
use crate::{AllocError, BlockSource, Pool};
use core::ptr::NonNull;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What is told about a file that could not be deleted.
type OnError = fn(&Path, &io::Error);

static ON_ERROR: Lock<Option<OnError>> = Lock::new(None);

impl Pool {
    /// Sets what is called when [`Pool::delete_path`] fails to delete a file at a pool's end,
    /// for the whole process; without it such failures are silent. A file that is gone
    /// already is no failure.
    pub fn on_delete_error(report: fn(&Path, &io::Error)) {
        *ON_ERROR.lock() = Some(report);
    }
}

impl<S: BlockSource> Pool<S> {
    /// Keeps a file descriptor, and closes it when the pool is reset or dropped.
    ///
    /// Returns its number. To close it earlier, look its cleanup up under
    /// [`CleanupKey::descriptor`] and [`run`](crate::Cleanup::run) it. For a file that is
    /// only to be used while the pool lives, `pool.own(file)` is simpler: that gives
    /// `&mut File`.
    ///
    /// ```
    /// use cenote::{CleanupKey, Pool};
    /// use std::fs::File;
    /// let pool = Pool::new();
    /// let number = pool.attach_fd(File::open("/dev/null")?.into())?;
    /// let closing = pool.cleanup(CleanupKey::descriptor(number)).expect("it is pending");
    /// assert!(closing.run());     // now, instead of at the pool's end
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where the memory for the cleanup cannot be had. The descriptor is closed then.
    pub fn attach_fd(&self, file: OwnedFd) -> Result<RawFd, AllocError> {
        let number = file.as_raw_fd();
        self.try_defer_keyed(CleanupKey::descriptor(number), move || drop(file))?;
        Ok(number)
    }

    /// Deletes a file when the pool is reset or dropped: for temporary files.
    ///
    /// The cleanup that is returned cancels the deletion, for a file that is to stay after
    /// all. A file that is gone by then is fine; other failures go to
    /// [`Pool::on_delete_error`].
    ///
    /// ```
    /// # let dir = std::env::temp_dir();
    /// let path = dir.join(format!("cenote-doc-{}", std::process::id()));
    /// std::fs::write(&path, "for the time of a request")?;
    /// let pool = cenote::Pool::new();
    /// pool.delete_path(&path)?;
    /// drop(pool);
    /// assert!(!path.exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where the memory for the name or the cleanup cannot be had. The file stays then.
    pub fn delete_path(&self, path: impl AsRef<Path>) -> Result<Cleanup<'_>, AllocError> {
        let name = self.try_alloc_slice_copy(path.as_ref().as_os_str().as_bytes())?;
        let name = NameInPool(NonNull::from(name));
        self.try_defer(move || name.delete())
    }
}

/// A file name in the memory of the pool whose cleanup has it.
struct NameInPool(NonNull<[u8]>);

// SAFETY: only bytes, which nobody changes, and which go wherever the pool goes.
unsafe impl Send for NameInPool {}

impl NameInPool {
    fn delete(self) {
        // SAFETY: cleanups run, or are dropped, before the pool's memory is given back.
        let name = unsafe { self.0.as_ref() };
        let path = Path::new(OsStr::from_bytes(name));
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != ErrorKind::NotFound
        {
            let report = *ON_ERROR.lock();
            if let Some(report) = report {
                report(path, &error);
            }
        }
    }
}
