//! Enums whose values are words: in records, in the database, in documents.

/// Declares such an enum: each value with its meaning and its word.
macro_rules! words {
    (@want $last:literal) => { $last };
    (@want $word:literal $last:literal) => { concat!($word, " or ", $last) };
    (@want $word:literal $($rest:literal)+) => { concat!($word, ", ", $crate::model::words!(@want $($rest)+)) };
    ($(#[$doc:meta])* $name:ident { $(#[doc = $meaning:literal] $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $(#[doc = $meaning] $variant),+ }
        impl $name {
            /// All values.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// All words, as a noun phrase.
            pub const WANT: &str = $crate::model::words!(@want $($word)+);

            /// Its word.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// The value of a word.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().find(|value| value.word() == word).copied()
            }
        }
    };
}
pub(crate) use words;
