"""Compute the table of typical days that Hashwerk ships, from recorded series with open licences.

    python tools/typical_days.py FOLDER > src/hashwerk/feeds/typical_days.csv

FOLDER holds smard_prices_2025.parquet, smard_de_generation_2025.parquet and eia930_generation_by_fuel_2022.parquet. For each
month and local hour: the mean, and the values that one day in ten lies below and above.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.compute
import pyarrow.parquet

from hashwerk.energy.factors import IPCC_2014, Fuel
from hashwerk.energy.local_time import WallClock

SMARD = "smard"
EIA = "eia"
ATTRIBUTIONS = {
    SMARD: "Bundesnetzagentur | SMARD.de, CC BY 4.0, year 2025",
    EIA: "US Energy Information Administration, form EIA-930, public domain, year 2022",
}
ZONES = {
    "DE-LU": ("price_de_lu_eur_mwh", "Europe/Berlin"),
    "FR": ("price_fr_eur_mwh", "Europe/Paris"),
    "NL": ("price_nl_eur_mwh", "Europe/Amsterdam"),
    "NO2": ("price_no2_eur_mwh", "Europe/Oslo"),
    "SE4": ("price_se4_eur_mwh", "Europe/Stockholm"),
}
GERMAN_FUELS = {
    "lignite_mw": Fuel.COAL,
    "hard_coal_mw": Fuel.COAL,
    "gas_mw": Fuel.GAS,
    "nuclear_mw": Fuel.NUCLEAR,
    "hydro_mw": Fuel.HYDRO,
    "biomass_mw": Fuel.BIOMASS,
    "wind_onshore_mw": Fuel.WIND,
    "wind_offshore_mw": Fuel.WIND,
    "solar_mw": Fuel.SOLAR,
    "other_conventional_mw": Fuel.UNKNOWN,
    "other_renewables_mw": Fuel.BIOMASS,
}
AMERICAN_FUELS = {
    "col_mw": Fuel.COAL,
    "ng_mw": Fuel.GAS,
    "oil_mw": Fuel.OIL,
    "nuc_mw": Fuel.NUCLEAR,
    "wat_mw": Fuel.HYDRO,
    "wnd_mw": Fuel.WIND,
    "sun_mw": Fuel.SOLAR,
    "oth_mw": Fuel.UNKNOWN,
}

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def times_s(table: pyarrow.Table) -> IntArray:
    """Return the beginnings of the intervals, Unix seconds."""
    stamps = table.column("time_utc").to_numpy()
    return stamps.astype("datetime64[s]").astype(np.int64)


def intensity(table: pyarrow.Table, fuels: dict[str, Fuel]) -> FloatArray:
    """Return g/kWh of the generation, life cycle by IPCC 2014; pumped storage is left out, it makes nothing."""
    power = {name: np.nan_to_num(table.column(name).to_numpy()).clip(min=0) for name in fuels}
    emitted = sum(power[name] * float(IPCC_2014.factor(fuel)) for name, fuel in fuels.items())
    total: FloatArray = sum(power.values(), np.zeros(table.num_rows))
    return np.asarray(emitted / np.where(total > 0, total, np.nan), dtype=np.float64)


def rows(starts: IntArray, values: FloatArray, zone: str, head: str) -> list[str]:
    """Return 288 lines: month, local hour, mean, tenth and ninetieth percentile."""
    wall = WallClock.at(starts, zone)
    lines = []
    for month in range(1, 13):
        for hour in range(24):
            own = values[(wall.month == month) & (wall.minute // 60 == hour)]
            own = own[np.isfinite(own)]
            low, high = np.percentile(own, (10, 90))
            lines.append(f"{head},{month},{hour},{own.mean():.1f},{low:.1f},{high:.1f}")
    return lines


def main(folder: Path) -> None:
    """Write the table to standard output."""
    prices = pyarrow.parquet.read_table(folder / "smard_prices_2025.parquet")
    german = pyarrow.parquet.read_table(folder / "smard_de_generation_2025.parquet")
    american = pyarrow.parquet.read_table(folder / "eia930_generation_by_fuel_2022.parquet")
    texas = american.filter(pyarrow.compute.equal(american.column("ba").cast("string"), "ERCO"))
    lines = [
        "# Typical days: statistics of recorded series, by month and local hour. Made by tools/typical_days.py."
    ]
    lines += ["# Carbon: generation with the life-cycle medians of IPCC 2014, imports left out."]
    lines += [f"# attribution {key}: {text}" for key, text in ATTRIBUTIONS.items()]
    lines.append("zone,signal,unit,time_zone,attribution,month,hour,mean,low,high")
    for zone, (column, time_zone) in ZONES.items():
        head = f"{zone},price,EUR/MWh,{time_zone},{SMARD}"
        lines += rows(times_s(prices), prices.column(column).to_numpy(), time_zone, head)
    head = f"DE-LU,carbon average,g/kWh,Europe/Berlin,{SMARD}"
    lines += rows(times_s(german), intensity(german, GERMAN_FUELS), "Europe/Berlin", head)
    head = f"US-ERCOT,carbon average,g/kWh,America/Chicago,{EIA}"
    lines += rows(times_s(texas), intensity(texas, AMERICAN_FUELS), "America/Chicago", head)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
