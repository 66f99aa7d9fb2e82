//! The shop: its customers, products, pages, and the cities it sells to.
//!
//! Tables and text only; who goes where is decided in `session`.

use activity_event::{ActivityType, Microdegrees, Platform};

use crate::GeneratorSettings;
use crate::dice::{Dice, Zipf};

/// Who and what there is, and how often.
pub(crate) struct Shop {
    customers: Zipf,
    products: Zipf,
}

impl Shop {
    pub(crate) fn new(settings: &GeneratorSettings) -> Self {
        Self {
            customers: Zipf::new(settings.customers.get()),
            products: Zipf::new(settings.products.get()),
        }
    }

    /// A customer, regulars more often than others.
    pub(crate) fn customer(&self, dice: &mut Dice) -> u32 {
        self.customers.draw(dice)
    }

    /// A product, bestsellers more often than others.
    pub(crate) fn product(&self, dice: &mut Dice) -> u32 {
        self.products.draw(dice)
    }
}

/// Where a customer is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) latitude: Microdegrees,
    pub(crate) longitude: Microdegrees,
}

/// Of ten customers, how many share their location.
const SHARE_LOCATION_OF_TEN: u32 = 8;
/// How far from the centre a customer may live, each way: about 5 km.
const CITY_RADIUS_MICRODEGREES: u32 = 50_000;

/// A place in one of the cities, or none where the customer doesn't tell.
pub(crate) fn place(dice: &mut Dice) -> Option<Place> {
    if dice.below(10) >= SHARE_LOCATION_OF_TEN {
        return None;
    }
    let (_, latitude, longitude) = *dice.one_of(&CITIES);
    Some(Place { latitude: near(latitude, dice), longitude: near(longitude, dice) })
}

fn near(centre: i32, dice: &mut Dice) -> Microdegrees {
    let shift = dice.below(2 * CITY_RADIUS_MICRODEGREES).cast_signed();
    Microdegrees::new(centre + shift - CITY_RADIUS_MICRODEGREES.cast_signed())
}

/// A client platform, by the mix of [`PLATFORMS`].
pub(crate) fn platform(dice: &mut Dice) -> Platform {
    let mut ticket = dice.below(100);
    for (platform, percent) in PLATFORMS {
        if ticket < percent {
            return platform;
        }
        ticket -= percent;
    }
    Platform::Web
}

/// The campaign that brought the customer, in two of five visits.
pub(crate) fn campaign(dice: &mut Dice) -> Option<&'static str> {
    (dice.below(5) < 2).then(|| *dice.one_of(&CAMPAIGNS))
}

/// Writes the text by which the shop knows a customer.
pub(crate) fn write_customer(out: &mut String, customer: u32) {
    out.clear();
    out.push('c');
    push_digits::<7>(out, customer);
}

/// Writes the text by which the shop knows a product.
pub(crate) fn write_product(out: &mut String, product: u32) {
    out.clear();
    out.push('p');
    push_digits::<5>(out, product);
}

/// Writes the page on which `activity` happens.
pub(crate) fn write_url(
    out: &mut String,
    activity: ActivityType,
    product: &str,
    campaign: Option<&str>,
    dice: &mut Dice,
) {
    out.clear();
    match activity {
        ActivityType::PageView => write_browsing(out, dice),
        ActivityType::ProductClick => {
            out.extend(["/product/", product, "?pos="]);
            push_digits::<1>(out, dice.below(24));
        }
        ActivityType::AddToCart => {
            out.extend(["/cart?add=", product, "&qty="]);
            push_digits::<1>(out, 1 + dice.below(3));
        }
        ActivityType::CheckoutInitiation => out.push_str("/checkout?step=address"),
        ActivityType::Purchase => {
            out.push_str("/checkout/done?order=");
            push_digits::<8>(out, dice.below(100_000_000));
        }
    }
    if let Some(campaign) = campaign {
        out.extend(["&utm_campaign=", campaign]);
    }
}

fn write_browsing(out: &mut String, dice: &mut Dice) {
    match dice.below(4) {
        0 => out.push_str("/?ref=home"),
        1 => out.extend(["/search?q=", *dice.one_of(&SEARCHES)]),
        _ => {
            out.extend(["/category/", *dice.one_of(&CATEGORIES), "?page="]);
            push_digits::<1>(out, 1 + dice.below(9));
        }
    }
}

/// Appends `value` with at least `N` digits; quicker than `write!`, and here
/// that is a fifth of making an event.
fn push_digits<const N: usize>(out: &mut String, mut value: u32) {
    let mut text = [b'0'; DIGITS_MAX];
    let mut length = 0;
    for place in text.iter_mut().rev() {
        *place = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
        length += 1;
        if value == 0 && length >= N {
            break;
        }
    }
    let (_, written) = text.split_at(DIGITS_MAX - length);
    out.push_str(std::str::from_utf8(written).expect("digits are text"));
}

/// The digits of the greatest `u32`.
const DIGITS_MAX: usize = 10;

/// The platform mix, in percent.
const PLATFORMS: [(Platform, u32); 5] = [
    (Platform::Web, 34),
    (Platform::MobileWeb, 14),
    (Platform::Ios, 24),
    (Platform::Android, 25),
    (Platform::Kiosk, 3),
];

const CATEGORIES: [&str; 8] =
    ["shoes", "jackets", "audio", "garden", "kitchen", "toys", "books", "bikes"];

/// Some searches and campaigns hold what naive readers trip over: characters
/// beyond ASCII, a quotation mark that JSON must escape, another activity's name.
const SEARCHES: [&str; 8] = [
    "rain+jacket",
    "headphones",
    "27\"+monitor",
    "café+crème",
    "größe+42",
    "靴",
    "gift+for+purchase",
    "usb%2Dc",
];
const CAMPAIGNS: [&str; 8] = [
    "spring",
    "newsletter",
    "back-to-school",
    "black-friday",
    "soldes-d'été",
    "7\"-tablets",
    "loyalty",
    "win-back",
];

/// Name, latitude and longitude in millionths of a degree.
const CITIES: [(&str, i32, i32); 32] = [
    ("Amsterdam", 52_370_216, 4_895_168),
    ("Athens", 37_983_810, 23_727_539),
    ("Auckland", -36_848_460, 174_763_332),
    ("Bangkok", 13_756_331, 100_501_765),
    ("Berlin", 52_520_007, 13_404_954),
    ("Bogotá", 4_710_989, -74_072_092),
    ("Buenos Aires", -34_603_684, -58_381_559),
    ("Cairo", 30_044_420, 31_235_712),
    ("Cape Town", -33_924_870, 18_424_055),
    ("Chicago", 41_878_114, -87_629_798),
    ("Delhi", 28_613_939, 77_209_021),
    ("Dubai", 25_204_849, 55_270_783),
    ("Honolulu", 21_306_944, -157_858_333),
    ("Jakarta", -6_208_763, 106_845_599),
    ("Lagos", 6_524_379, 3_379_206),
    ("Lima", -12_046_374, -77_042_793),
    ("London", 51_507_351, -127_758),
    ("Los Angeles", 34_052_234, -118_243_685),
    ("Madrid", 40_416_775, -3_703_790),
    ("Mexico City", 19_432_608, -99_133_208),
    ("Mumbai", 19_075_984, 72_877_656),
    ("Nairobi", -1_292_066, 36_821_946),
    ("New York", 40_712_776, -74_005_974),
    ("Oslo", 59_913_869, 10_752_245),
    ("Paris", 48_856_614, 2_352_222),
    ("Pune", 18_520_430, 73_856_744),
    ("Quito", -180_653, -78_467_834),
    ("São Paulo", -23_550_520, -46_633_309),
    ("Seoul", 37_566_535, 126_977_969),
    ("Singapore", 1_352_083, 103_819_836),
    ("Sydney", -33_868_820, 151_209_296),
    ("Tokyo", 35_689_487, 139_691_706),
];
