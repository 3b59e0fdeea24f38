//! Enumerations by the names that users give their values.

/// An enumeration whose values have names.
pub trait Named: Copy + PartialEq + 'static {
    const NAMES: &'static [(&'static str, Self)];

    /// The name of this value.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map_or("", |(name, _)| name)
    }
}

/// The value of a name; for command lines.
///
/// # Errors
/// The names that there are.
pub fn named<T: Named>(text: &str) -> Result<T, String> {
    let known = || T::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    T::NAMES
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| format!("use one of {}", known()))
}
