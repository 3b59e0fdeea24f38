//! The engine's enumerations as GObject knows them.

use desumnet_engine::{
    importance::{self, Form},
    network,
};

/// What a segment's score is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetImportance")]
pub enum Importance {
    #[enum_value(name = "Probability times the gradient of the class score (our choice)", nick = "weighted")]
    Weighted,
    #[enum_value(name = "Gradient of the class score before the softmax (Equation 1)", nick = "logit")]
    Logit,
    #[enum_value(name = "Gradient of the probability (Equation 1)", nick = "probability")]
    Probability,
    #[enum_value(name = "Departure from what the stream usually shows (our choice)", nick = "unusual")]
    Unusual,
    #[enum_value(name = "weighted where one of the categories fits, else unusual (our choice)", nick = "auto")]
    Auto,
}

/// How frame scores become a segment's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetAggregation")]
pub enum Aggregation {
    #[enum_value(name = "Mean of the frame scores", nick = "mean")]
    Mean,
    #[enum_value(name = "Largest frame score", nick = "max")]
    Max,
}

/// Of the convolutions' arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, glib::Enum)]
#[enum_type(name = "DeSumNetPrecision")]
pub enum Precision {
    #[enum_value(name = "bf16 on CUDA, f32 on a CPU", nick = "auto")]
    Auto,
    #[enum_value(name = "32-bit floats", nick = "f32")]
    F32,
    #[enum_value(name = "bfloat16", nick = "bf16")]
    Bf16,
    #[enum_value(name = "16-bit floats (CUDA only)", nick = "f16")]
    F16,
}

/// The same values, there and back.
macro_rules! same {
    ($own:ident, $engines:ty: $($value:ident)+) => {
        impl From<$own> for $engines {
            fn from(own: $own) -> Self {
                match own {
                    $($own::$value => Self::$value,)+
                }
            }
        }

        impl From<$engines> for $own {
            fn from(value: $engines) -> Self {
                match value {
                    $(<$engines>::$value => Self::$value,)+
                }
            }
        }
    };
}

same!(Importance, Form: Weighted Logit Probability Unusual Auto);
same!(Aggregation, importance::Aggregation: Mean Max);
same!(Precision, network::Precision: Auto F32 Bf16 F16);

#[cfg(test)]
mod tests {
    use super::*;
    use desumnet_engine::named::Named;

    /// Every value of the engine has the same name here, and there are no others.
    fn assert_alike<Own, Engines>()
    where
        Own: From<Engines> + glib::prelude::StaticType + glib::value::ToValue,
        Engines: Named,
    {
        let class = glib::EnumClass::with_type(Own::static_type()).unwrap();
        let nick =
            |value: Engines| glib::EnumValue::from_value(&Own::from(value).to_value()).unwrap().1.nick().to_owned();
        let own: Vec<String> = class.values().iter().map(|value| value.nick().to_owned()).collect();
        assert_eq!(own, Engines::NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
        assert!(Engines::NAMES.iter().all(|(name, value)| nick(*value) == *name));
    }

    #[test]
    fn values_have_the_engines_names() {
        assert_alike::<Importance, Form>();
        assert_alike::<Aggregation, importance::Aggregation>();
        assert_alike::<Precision, network::Precision>();
    }
}
