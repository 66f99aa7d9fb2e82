//! The bytes on the wire, one golden file for each of the five activities.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failing test may panic")]

use activity_event::{
    ActivityEvent, ActivityType, Cents, EventTime, Microdegrees, Platform, field,
};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

/// 2025-06-01T08:30:00.125Z.
const AT: EventTime = EventTime::from_millis(1_748_766_600_125);

fn page_view() -> ActivityEvent<'static> {
    ActivityEvent {
        unique_event_id: Uuid::from_u128(0x0197_2a8b_f2ad_7c31_8a5e_0123_4567_89ab),
        customer_id: "cust-0000042",
        session_guid: Uuid::from_u128(0x6f1e_0d54_93f1_4be0_9a3c_fedc_ba98_7654),
        activity_type: ActivityType::PageView,
        source_url: "/category/shoes?page=2",
        client_platform: Platform::Web,
        event_ts_utc: AT,
        customer_latitude: None,
        customer_longitude: None,
        product_id: None,
        transaction_value: None,
    }
}

fn located(event: ActivityEvent<'static>) -> ActivityEvent<'static> {
    ActivityEvent {
        customer_latitude: Some(Microdegrees::new(48_137_154)),
        customer_longitude: Some(Microdegrees::new(-11_000_005)),
        product_id: Some("prod-00017"),
        ..event
    }
}

#[track_caller]
fn check(event: &ActivityEvent<'_>, golden: &str) {
    let mut out = Vec::new();
    event.write_json(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), golden.trim_end());
}

#[test]
fn page_view_is_written_as_agreed() {
    check(&page_view(), include_str!("golden/page_view.json"));
}

#[test]
fn product_click_is_written_as_agreed() {
    let event = ActivityEvent {
        activity_type: ActivityType::ProductClick,
        source_url: "/product/prod-00017?pos=3",
        client_platform: Platform::Android,
        ..located(page_view())
    };
    check(&event, include_str!("golden/product_click.json"));
}

#[test]
fn add_to_cart_with_characters_to_escape_is_written_as_agreed() {
    let event = ActivityEvent {
        activity_type: ActivityType::AddToCart,
        source_url: "/cart?add=7\"-tablet&note=été\\\u{1}",
        client_platform: Platform::Ios,
        ..located(page_view())
    };
    check(&event, include_str!("golden/add_to_cart.json"));
}

#[test]
fn checkout_initiation_is_written_as_agreed() {
    let event = ActivityEvent {
        activity_type: ActivityType::CheckoutInitiation,
        source_url: "/checkout?step=address",
        client_platform: Platform::MobileWeb,
        ..located(page_view())
    };
    check(&event, include_str!("golden/checkout_initiation.json"));
}

#[test]
fn purchase_is_written_as_agreed() {
    let event = ActivityEvent {
        activity_type: ActivityType::Purchase,
        source_url: "/checkout/confirmation?order=81",
        client_platform: Platform::Kiosk,
        transaction_value: Some(Cents::new(12_905)),
        ..located(page_view())
    };
    check(&event, include_str!("golden/purchase.json"));
}

proptest! {
    /// Another reader finds every field, in order, with the value that was written.
    #[test]
    fn every_event_reads_back(
        customer in any::<String>(),
        url in any::<String>(),
        millis in -62_167_219_200_000_i64..253_402_300_800_000,
        degrees in proptest::option::of(-180_000_000_i32..=180_000_000),
        cents in proptest::option::of(any::<u64>()),
    ) {
        let event = ActivityEvent {
            customer_id: &customer,
            source_url: &url,
            product_id: Some(&url),
            event_ts_utc: EventTime::from_millis(millis),
            customer_latitude: degrees.map(Microdegrees::new),
            transaction_value: cents.map(Cents::new),
            ..page_view()
        };
        let mut out = Vec::new();
        event.write_json(&mut out);
        let text = std::str::from_utf8(&out).unwrap();
        let read: Value = serde_json::from_str(text).unwrap();

        prop_assert_eq!(read[field::CUSTOMER_ID].as_str(), Some(customer.as_str()));
        prop_assert_eq!(read[field::SOURCE_URL].as_str(), Some(url.as_str()));
        prop_assert_eq!(read[field::PRODUCT_ID].as_str(), Some(url.as_str()));
        let at = chrono::DateTime::parse_from_rfc3339(read[field::EVENT_TS_UTC].as_str().unwrap());
        prop_assert_eq!(at.unwrap().timestamp_millis(), millis);
        let latitude = read[field::CUSTOMER_LATITUDE].as_f64();
        prop_assert_eq!(latitude, degrees.map(|degrees| f64::from(degrees) / 1e6));
        let paid = cents.map_or("null".to_owned(), |cents| format!("{}.{:02}", cents / 100, cents % 100));
        let last = format!("\"transaction_value\":{paid}}}");
        prop_assert!(text.ends_with(&last), "{text} should end with {last}");
    }
}

#[test]
fn numbers_below_one_have_a_zero_before_the_point() {
    for (cents, microdegrees, paid, degrees) in [
        (0, 0, "0.00", "0.000000"),
        (5, -1, "0.05", "-0.000001"),
        (99, 999_999, "0.99", "0.999999"),
        (100, -1_000_000, "1.00", "-1.000000"),
        (u64::MAX, i32::MIN, "184467440737095516.15", "-2147.483648"),
    ] {
        let event = ActivityEvent {
            transaction_value: Some(Cents::new(cents)),
            customer_latitude: Some(Microdegrees::new(microdegrees)),
            ..page_view()
        };
        let mut out = Vec::new();
        event.write_json(&mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(&format!("\"transaction_value\":{paid}}}")), "{text}");
        assert!(text.contains(&format!("\"customer_latitude\":{degrees},")), "{text}");
    }
}

#[test]
fn fields_are_written_once_and_in_order() {
    let mut out = Vec::new();
    page_view().write_json(&mut out);
    let text = String::from_utf8(out).unwrap();
    let places: Vec<usize> =
        field::ALL.iter().map(|name| text.find(&format!("\"{name}\":")).unwrap()).collect();
    assert!(places.is_sorted());
    assert_eq!(text.matches("\":").count(), field::ALL.len());
}

#[test]
fn instants_without_an_rfc_3339_form_become_the_nearest_that_has_one() {
    assert_eq!(EventTime::from_millis(i64::MAX).millis(), 253_402_300_799_999);
    assert_eq!(EventTime::from_millis(i64::MIN).millis(), -62_167_219_200_000);
}
