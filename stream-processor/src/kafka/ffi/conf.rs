//! Properties: set, guarded, read back.

use std::ffi::c_char;
use std::ptr;

use rdkafka_sys as sys;

use super::super::settings::{ConsumerSettings, is_secret};
use super::{KafkaError, KafkaErrorKind, REASON_BYTES, c_string, text};

/// An owned `rd_kafka_conf_t`, until a client takes it.
pub(super) struct Conf(*mut sys::rd_kafka_conf_t);

impl Conf {
    /// All properties of `settings`.
    ///
    /// `extra` comes last, one by one, and the protected properties are compared after each: so an alias
    /// of a protected name is caught as well as the name.
    ///
    /// # Errors
    ///
    /// [`KafkaErrorKind::Config`]: librdkafka doesn't know a property, refuses its value, or an extra
    /// property changes a protected one.
    pub(super) fn of(settings: &ConsumerSettings) -> Result<Self, KafkaError> {
        // SAFETY: no precondition.
        let conf = Self(unsafe { sys::rd_kafka_conf_new() });
        let protected = settings.protected();
        for (key, value) in settings.preferred().iter().chain(&protected) {
            conf.set(key, value)?;
        }
        for (key, value) in &settings.extra {
            let named = protected.iter().any(|(name, _)| *name == key.trim());
            conf.set(key, value)?;
            if named || conf.differs(&protected)?.is_some() {
                return Err(KafkaError::new(
                    KafkaErrorKind::Config,
                    format!(
                        "property `{key}` may not be set: exactly-once or a setting of its own depends on it"
                    ),
                ));
            }
        }
        Ok(conf)
    }

    fn set(&self, key: &str, value: &str) -> Result<(), KafkaError> {
        let (name, wanted) = (c_string(key)?, c_string(value)?);
        let mut reason = [0 as c_char; REASON_BYTES];
        // SAFETY: our conf, two C strings, and a buffer of the length given.
        let result = unsafe {
            sys::rd_kafka_conf_set(
                self.0,
                name.as_ptr(),
                wanted.as_ptr(),
                reason.as_mut_ptr(),
                reason.len(),
            )
        };
        if result == sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
            return Ok(());
        }
        // SAFETY: librdkafka ends what it writes with a zero byte.
        let reason = unsafe { text(reason.as_ptr()) };
        Err(KafkaError::new(
            KafkaErrorKind::Config,
            format!("property `{key}`: {}", explained(key, reason)),
        ))
    }

    /// The first property that isn't what it should be.
    fn differs(
        &self,
        wanted: &[(&'static str, String)],
    ) -> Result<Option<&'static str>, KafkaError> {
        // SAFETY: our conf.
        unsafe { differs(self.0, wanted) }
    }

    /// Where callbacks find their state. They must be set before a client is made.
    pub(super) fn as_ptr(&self) -> *mut sys::rd_kafka_conf_t {
        self.0
    }

    /// Hands the conf to a client.
    pub(super) fn into_raw(mut self) -> *mut sys::rd_kafka_conf_t {
        std::mem::replace(&mut self.0, ptr::null_mut())
    }

    /// Takes back what a client didn't want.
    ///
    /// # Safety
    ///
    /// `conf` came from [`Self::into_raw`] and nobody else frees it.
    pub(super) unsafe fn from_raw(conf: *mut sys::rd_kafka_conf_t) -> Self {
        Self(conf)
    }
}

impl Drop for Conf {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: ours, and freed once.
            unsafe { sys::rd_kafka_conf_destroy(self.0) }
        }
    }
}

/// librdkafka's words about a refused value, and what to do where it lacks a part.
fn explained(key: &str, reason: String) -> String {
    if reason.contains("not available at build time") {
        format!("{reason}; build with `--features tls`, or run the container image, which has it")
    } else if is_secret(key) {
        // It would repeat the value.
        "the value is not accepted".to_owned()
    } else {
        reason
    }
}

/// The first property of a conf that isn't what it should be.
///
/// # Safety
///
/// `conf` is a valid conf that nobody changes during the call.
pub(super) unsafe fn differs(
    conf: *const sys::rd_kafka_conf_t,
    wanted: &[(&'static str, String)],
) -> Result<Option<&'static str>, KafkaError> {
    for (key, value) in wanted {
        let name = c_string(key)?;
        let mut size = value.len() + REASON_BYTES;
        let mut found = vec![0 as c_char; size];
        // SAFETY: a valid conf, a C string, and a buffer of the size given.
        let result = unsafe {
            sys::rd_kafka_conf_get(conf, name.as_ptr(), found.as_mut_ptr(), &raw mut size)
        };
        // SAFETY: librdkafka ends what it writes with a zero byte; untouched, the buffer is empty.
        let found = unsafe { text(found.as_ptr()) };
        if result != sys::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK || found != *value {
            return Ok(Some(key));
        }
    }
    Ok(None)
}
