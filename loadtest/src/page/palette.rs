//! Colours of the plots. They stand in the SVG as they look on white paper; page.css finds them
//! there by value and turns them around for a dark screen. All series colours differ in brightness
//! too, for eyes and printers that do not tell hues apart.

use plotters::style::RGBColor;

/// Ticks, titles of axes, names of moments and levels; those that the one that matters is compared
/// with.
pub(super) const SOFT: RGBColor = RGBColor(0x5A, 0x65, 0x70);
/// The grid.
pub(super) const GRID: RGBColor = RGBColor(0xE4, 0xE8, 0xEC);
/// What was asked for, as against what came: drawn dashed.
pub(super) const RULE: RGBColor = RGBColor(0x56, 0x60, 0x6A);

/// Half of the requests; servers' and testers' figures where there is one series.
pub(super) const SKY: RGBColor = RGBColor(0x3B, 0x9A, 0xD9);
/// Nine in ten; single series.
pub(super) const BLUE: RGBColor = RGBColor(0x0B, 0x5C, 0x99);
/// 99 %.
pub(super) const GREEN: RGBColor = RGBColor(0x00, 0x86, 0x62);
/// 99.9 %.
pub(super) const AMBER: RGBColor = RGBColor(0xC2, 0x7C, 0x00);
/// The worst; failures.
pub(super) const RED: RGBColor = RGBColor(0xB2, 0x3A, 0x0E);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::STYLE;

    #[test]
    fn every_colour_has_a_counterpart_in_the_style() {
        for RGBColor(red, green, blue) in [SOFT, GRID, RULE, SKY, BLUE, GREEN, AMBER, RED] {
            let selector = format!("=\"#{red:02X}{green:02X}{blue:02X}\"]");
            assert!(
                STYLE.contains(&selector),
                "page.css does not name {selector}"
            );
        }
    }
}
