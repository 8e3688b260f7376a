//! The names of the cleaning rules in reports, in the order in which they apply.

/// With the name of the column after it.
pub(super) const MISSING: &str = "missing_";
pub(super) const INVALID: &str = "invalid";
pub(super) const MISSING_USER: &str = "missing_user";
pub(super) const MISSING_ITEM: &str = "missing_item";
pub(super) const MISSING_TIME: &str = "missing_time";
pub(super) const IMPOSSIBLE_TIME: &str = "impossible_time";
/// With the name of the column after it.
pub(super) const OUT_OF_RANGE: &str = "out_of_range_";
pub(super) const REPEATED_EVENT_ID: &str = "repeated_event_id";
pub(super) const DUPLICATE: &str = "duplicate";
pub(super) const NEAR_DUPLICATE: &str = "near_duplicate";
pub(super) const BOT_RATE: &str = "bot_rate";
pub(super) const BOT_LENGTH: &str = "bot_length";
pub(super) const RARE_ITEM: &str = "rare_item";
pub(super) const RARE_USER: &str = "rare_user";
pub(super) const OVER_MAX_USER_EVENTS: &str = "over_max_user_events";
pub(super) const SHORT_SEQUENCE: &str = "short_sequence";
