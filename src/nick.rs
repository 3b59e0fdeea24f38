//! Enumerations by the names that the elements' properties use too.

/// The value of a name; for the command lines.
///
/// # Errors
/// The names that there are.
pub fn nick<T>(text: &str) -> Result<T, String>
where
    T: for<'v> glib::value::FromValue<'v> + glib::prelude::StaticType,
{
    let class = glib::EnumClass::with_type(T::static_type()).ok_or("not an enumeration")?;
    let known = || class.values().iter().map(|v| v.nick()).collect::<Vec<_>>().join(", ");
    let value = class.to_value_by_nick(text).ok_or_else(|| format!("use one of {}", known()))?;
    value.get().map_err(|_| format!("use one of {}", known()))
}
