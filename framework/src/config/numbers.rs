//! Whole numbers, and lists of them.

use std::fmt;

use toml::Spanned;

use super::kind::{Expect, Kind, Mistake};
use super::value::Value;

/// A whole number in a range. As an `Option`, 0 is `None`.
#[derive(Clone, Copy)]
pub(super) struct Whole {
    unit: &'static str,
    min: u32,
    max: u32,
    power_of_two: bool,
    /// What 0 stands for, where it stands for something beside the range.
    zero: Option<&'static str>,
}

impl Whole {
    /// A number of `unit`, which is a plural.
    pub(super) const fn of(unit: &'static str, min: u32, max: u32) -> Self {
        Self {
            unit,
            min,
            max,
            power_of_two: false,
            zero: None,
        }
    }

    pub(super) const fn or_zero(self, meaning: &'static str) -> Self {
        Self {
            zero: Some(meaning),
            ..self
        }
    }

    pub(super) const fn power_of_two(self) -> Self {
        Self {
            power_of_two: true,
            ..self
        }
    }
}

impl fmt::Display for Whole {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { unit, min, max, .. } = self;
        write!(out, "a whole number of {unit} from {min} to {max}")?;
        if let Some(zero) = self.zero {
            write!(out, ", or 0 for {zero}")?;
        }
        if self.power_of_two {
            out.write_str(", and a power of two")?;
        }
        Ok(())
    }
}

impl Expect for Whole {}

impl Kind<u32> for Whole {
    fn read(&self, value: &Value) -> Option<u32> {
        let Value::Integer(number) = value else {
            return None;
        };
        let number = u32::try_from(*number).ok()?;
        let is_zero = number == 0 && self.zero.is_some();
        let is_power = !self.power_of_two || number.is_power_of_two();
        let in_range = (self.min..=self.max).contains(&number) && is_power;
        (in_range || is_zero).then_some(number)
    }

    fn write(&self, setting: &u32) -> Value {
        Value::Integer((*setting).into())
    }
}

impl Kind<Option<u32>> for Whole {
    fn read(&self, value: &Value) -> Option<Option<u32>> {
        let number: u32 = self.read(value)?;
        Some((number != 0).then_some(number))
    }

    fn write(&self, setting: &Option<u32>) -> Value {
        self.write(&setting.unwrap_or(0))
    }
}

/// A list of cores by number, none of them twice.
pub(super) struct Cores {
    /// The largest number.
    pub(super) max: u32,
}

impl Cores {
    fn number(&self, value: &Value) -> Option<usize> {
        let Value::Integer(number) = value else {
            return None;
        };
        let number = u32::try_from(*number).ok()?;
        (number <= self.max).then_some(number as usize)
    }

    /// What an item is to be.
    fn item(&self) -> String {
        format!("the number of a core from 0 to {}", self.max)
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a list, each {}", self.item())
    }
}

impl Expect for Cores {
    fn mistakes(&self, wrong: &Spanned<Value>) -> Vec<Mistake> {
        let Value::List(items) = wrong.get_ref() else {
            return vec![Mistake::found(wrong, self, None)];
        };
        let (mut seen, mut mistakes) = (Vec::new(), Vec::new());
        for item in items {
            match self.number(item.get_ref()) {
                None => mistakes.push(Mistake::found(item, &self.item(), None)),
                Some(core) if seen.contains(&core) => mistakes.push(Mistake {
                    at: item.span(),
                    what: format!("names core {core} twice"),
                    help: None,
                }),
                Some(core) => seen.push(core),
            }
        }
        mistakes
    }
}

impl Kind<Vec<usize>> for Cores {
    fn read(&self, value: &Value) -> Option<Vec<usize>> {
        let Value::List(items) = value else {
            return None;
        };
        let mut cores = Vec::new();
        for item in items {
            let core = self.number(item.get_ref())?;
            if cores.contains(&core) {
                return None;
            }
            cores.push(core);
        }
        Some(cores)
    }

    fn write(&self, setting: &Vec<usize>) -> Value {
        let number = |core: &usize| i128::try_from(*core).unwrap_or(i128::MAX);
        Value::list(setting.iter().map(|core| Value::Integer(number(core))))
    }
}
