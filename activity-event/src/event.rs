//! What one activity is, field by field. Never how it is delivered.

use uuid::Uuid;

use crate::{Cents, EventTime, Microdegrees, json};

/// The names of the JSON fields.
pub mod field {
    /// `UUIDv7` of the activity.
    pub const UNIQUE_EVENT_ID: &str = "unique_event_id";
    /// Who acted.
    pub const CUSTOMER_ID: &str = "customer_id";
    /// In which visit; also the key of the Kafka record.
    pub const SESSION_GUID: &str = "session_guid";
    /// What was done.
    pub const ACTIVITY_TYPE: &str = "activity_type";
    /// On which page: path with query.
    pub const SOURCE_URL: &str = "source_url";
    /// With which kind of client.
    pub const CLIENT_PLATFORM: &str = "client_platform";
    /// When: RFC 3339, UTC, milliseconds.
    pub const EVENT_TS_UTC: &str = "event_ts_utc";
    /// Where: degrees north, WGS 84.
    pub const CUSTOMER_LATITUDE: &str = "customer_latitude";
    /// Where: degrees east, WGS 84.
    pub const CUSTOMER_LONGITUDE: &str = "customer_longitude";
    /// About which product.
    pub const PRODUCT_ID: &str = "product_id";
    /// For how much: US dollars with two decimals.
    pub const TRANSACTION_VALUE: &str = "transaction_value";

    /// Every field, in the order in which it is written.
    pub const ALL: [&str; 11] = [
        UNIQUE_EVENT_ID,
        CUSTOMER_ID,
        SESSION_GUID,
        ACTIVITY_TYPE,
        SOURCE_URL,
        CLIENT_PLATFORM,
        EVENT_TS_UTC,
        CUSTOMER_LATITUDE,
        CUSTOMER_LONGITUDE,
        PRODUCT_ID,
        TRANSACTION_VALUE,
    ];

    /// The fields that are never null and never absent.
    pub const REQUIRED: [&str; 7] = [
        UNIQUE_EVENT_ID,
        CUSTOMER_ID,
        SESSION_GUID,
        ACTIVITY_TYPE,
        SOURCE_URL,
        CLIENT_PLATFORM,
        EVENT_TS_UTC,
    ];
}

/// The five steps of a visit, in the order of the funnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ActivityType {
    /// A page was looked at.
    PageView,
    /// A product was opened.
    ProductClick,
    /// A product went into the cart.
    AddToCart,
    /// The cart went to the till.
    CheckoutInitiation,
    /// The order was paid.
    Purchase,
}

impl ActivityType {
    /// All five, in funnel order.
    pub const ALL: [Self; 5] = [
        Self::PageView,
        Self::ProductClick,
        Self::AddToCart,
        Self::CheckoutInitiation,
        Self::Purchase,
    ];

    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PageView => "page_view",
            Self::ProductClick => "product_click",
            Self::AddToCart => "add_to_cart",
            Self::CheckoutInitiation => "checkout_initiation",
            Self::Purchase => "purchase",
        }
    }
}

/// The kind of client. Readers must expect new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Platform {
    /// A browser on a desk.
    Web,
    /// A browser in a hand.
    MobileWeb,
    /// The app for iPhone and iPad.
    Ios,
    /// The app for Android.
    Android,
    /// A terminal on the shop floor.
    Kiosk,
}

impl Platform {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::MobileWeb => "mobile_web",
            Self::Ios => "ios",
            Self::Android => "android",
            Self::Kiosk => "kiosk",
        }
    }
}

/// One user activity; its text parts are borrowed from whoever made it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ActivityEvent<'a> {
    /// `UUIDv7` of the activity.
    pub unique_event_id: Uuid,
    /// Who acted.
    pub customer_id: &'a str,
    /// In which visit.
    pub session_guid: Uuid,
    /// What was done.
    pub activity_type: ActivityType,
    /// On which page: path with query.
    pub source_url: &'a str,
    /// With which kind of client.
    pub client_platform: Platform,
    /// When it happened, by the client's clock.
    pub event_ts_utc: EventTime,
    /// Degrees north, where the customer shared a location.
    pub customer_latitude: Option<Microdegrees>,
    /// Degrees east, where the customer shared a location.
    pub customer_longitude: Option<Microdegrees>,
    /// The product the activity is about, if any.
    pub product_id: Option<&'a str>,
    /// What was paid; present on purchases.
    pub transaction_value: Option<Cents>,
}

impl ActivityEvent<'_> {
    /// Appends the event to `out` as one flat JSON object without white space.
    ///
    /// Absent values are written as `null`, so every object has every field.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        json::write_event(self, out);
    }
}
