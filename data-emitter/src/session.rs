//! One visit to the shop, from its first page to where the customer drops off.

use activity_event::{ActivityType, Cents, Platform};
use uuid::{Builder, Uuid};

use crate::dice::Dice;
use crate::shop::{self, Place, Shop};

/// Half of the orders are worth more than this many cents.
const ORDER_MEDIAN_CENTS: f64 = 5_000.0;
/// Spread of the order values' logarithm: one in six is above 111 dollars.
const ORDER_SIGMA: f64 = 0.8;
/// The cheapest and the dearest order, in cents.
const ORDER_CENTS: (f64, f64) = (100.0, 9_999_999.0);

/// Length of a GUID's text.
pub(crate) const KEY_BYTES: usize = uuid::fmt::Hyphenated::LENGTH;

/// A visit, and what its customer does next.
pub(crate) struct Session {
    pub(crate) guid: Uuid,
    /// The GUID's text, which is the key of the visit's every record.
    pub(crate) key: [u8; KEY_BYTES],
    pub(crate) customer: u32,
    pub(crate) platform: Platform,
    pub(crate) campaign: Option<&'static str>,
    pub(crate) place: Option<Place>,
    /// The product looked at last.
    pub(crate) product: u32,
    /// What happens next.
    pub(crate) next: ActivityType,
    /// How long the visit's events took to reach the shop, beyond the usual.
    pub(crate) lag_ms: i64,
}

impl Session {
    /// A customer opens a page.
    pub(crate) fn begin(shop: &Shop, lag_ms: i64, dice: &mut Dice) -> Self {
        let guid = Builder::from_random_bytes(dice.bytes16()).into_uuid();
        let mut key = [0; KEY_BYTES];
        guid.as_hyphenated().encode_lower(&mut key);
        Self {
            guid,
            key,
            customer: shop.customer(dice),
            platform: shop::platform(dice),
            campaign: shop::campaign(dice),
            place: shop::place(dice),
            product: shop.product(dice),
            next: ActivityType::PageView,
            lag_ms,
        }
    }

    /// Decides what follows [`Self::next`]; `false` when the customer leaves.
    #[must_use]
    pub(crate) fn advance(&mut self, shop: &Shop, dice: &mut Dice) -> bool {
        let Some(next) = follow(self.next, dice.below(100)) else {
            return false;
        };
        if next == ActivityType::ProductClick {
            self.product = shop.product(dice);
        }
        self.next = next;
        true
    }
}

/// Where one customer in a hundred, the `ticket`th, goes after `activity`.
///
/// The shares make 4 % of all events purchases: a visit has 4.2 events, and
/// one visit in six ends with a purchase.
fn follow(activity: ActivityType, ticket: u32) -> Option<ActivityType> {
    use ActivityType::{AddToCart, CheckoutInitiation, PageView, ProductClick, Purchase};
    match (activity, ticket) {
        (PageView, 0..35) | (ProductClick, 20..45) | (AddToCart, 20..28) => Some(PageView),
        (PageView, 35..81) | (ProductClick | AddToCart, 0..20) => Some(ProductClick),
        (ProductClick, 45..77) => Some(AddToCart),
        (AddToCart, 28..82) => Some(CheckoutInitiation),
        (CheckoutInitiation, 0..75) => Some(Purchase),
        _ => None,
    }
}

/// What an order is worth.
pub(crate) fn order_value(dice: &mut Dice) -> Cents {
    let (cheapest, dearest) = ORDER_CENTS;
    let cents = dice.log_normal(ORDER_MEDIAN_CENTS, ORDER_SIGMA).clamp(cheapest, dearest);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to the range of orders"
    )]
    Cents::new(cents.round() as u64)
}
