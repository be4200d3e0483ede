"""Tables of sizes by processor: which one is taken, what the shipped ones say, and what they are made of."""

import itertools
import math
import os
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from normsuite import statistics, tunings
from normsuite.bench import worker
from normsuite.files import caches
from normsuite.machine import processor
from normsuite.spec import NORMS
from normsuite.tune import crossover, tables
from normsuite.tune.search import search, together
from tools import processor_table

RECORDS = Path(__file__).parent.parent / "reports" / "reference" / "processors"
EPYC = {"vendor_id": "AuthenticAMD", "cpu family": "25", "model": "17", "model name": "AMD EPYC"}

TABLE = {"BatchNorm": {"contiguous": {"lengths": [1], "forward": [123]}}}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """A user's cache that is empty, and no table in use."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    tunings.forget()
    yield
    tunings.forget()


def pretend(monkeypatch, key):
    """Let this machine have the processor of that key."""
    monkeypatch.setattr(processor, "this", lambda: processor.Processor(f"the processor {key}", key))


@contextmanager
def threads(number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def entries(table):
    """Each size of a table with its place."""
    return {
        (norm, layout, mode, length): size
        for norm, layouts in table.items()
        for layout, entry in layouts.items()
        for mode in set(entry) - {"lengths"}
        for length, size in zip(entry["lengths"], entry[mode], strict=True)
    }


# ---- the processor ----


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (EPYC, ("AMD EPYC (family 25, model 17), AVX512", "AuthenticAMD 25-17 AVX512")),
        ({**EPYC, "model": "1"}, ("AMD EPYC (family 25, model 1), AVX512", "AuthenticAMD 25-1 AVX512")),
        ({"CPU implementer": "0x41", "CPU part": "0xd40"}, ("ARM 0x41-0xd40, AVX512", "ARM 0x41-0xd40 AVX512")),
    ],
)
def test_models_of_one_name_are_told_apart(facts, expected):
    assert processor.describe(facts, "AVX512") == expected


def test_a_system_that_says_nothing_has_a_processor_all_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(processor, "_CPUINFO", tmp_path / "none")
    assert processor._first_block() == {}
    assert processor.describe({}, "DEFAULT").key.endswith(" DEFAULT")


def test_the_first_core_is_read(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    path.write_text("vendor_id\t: A\nmodel\t\t: 1\n\nvendor_id\t: B\n")
    monkeypatch.setattr(processor, "_CPUINFO", path)
    assert processor._first_block() == {"vendor_id": "A", "model": "1"}


# ---- which table ----


def test_a_shipped_table_is_for_its_own_model_only(monkeypatch):
    for key, shipped in tunings.shipped():
        if key is not None:
            pretend(monkeypatch, key)
            tunings.forget()
            with threads(shipped.threads):
                assert tunings.current() == shipped and "shipped" in shipped.origin
            with threads(shipped.threads + 1):
                assert tunings.current() == tunings.elsewhere(f"the processor {key}")
    pretend(monkeypatch, "GenuineIntel 6-143 AVX512")
    tunings.forget()
    assert tunings.current() == tunings.elsewhere("the processor GenuineIntel 6-143 AVX512")


def test_on_an_unknown_processor_torch_is_taken_wherever_two_that_were_measured_disagree():
    """And wherever either is within the margin."""
    unknown = tunings.elsewhere("unknown")
    shipped = [table for _, table in tunings.shipped()]
    assert len(shipped) >= 2
    found = entries(unknown.sizes)
    assert found
    for (norm, layout, mode, length), size in found.items():
        for table in shipped:
            clear, sizes = (of[norm][layout] for of in (table.clear, table.sizes))
            least, faster = (of[mode][tunings.place(of, length)] for of in (clear, sizes))
            assert size >= least >= faster, (norm, layout, mode, length)
    assert set(unknown.streaming.values()) == {tunings.NEVER}
    assert "normsuite tune" in unknown.origin and all(table.processor in unknown.origin for table in shipped)


def test_tables_that_tell_other_lengths_apart_agree_at_each_of_them():
    older = {"A": {"rows": {"lengths": [1, 32], "forward": [10, 40], "step": [5, 5]}}}
    newer = {"A": {"rows": {"lengths": [1, 12, 32], "forward": [30, 20, 20]}}, "B": {}}
    common = {"A": {"rows": {"lengths": [1, 12, 32], "forward": [30, 20, 40]}}}
    assert tunings.agreed([older, newer]) == common == tunings.agreed([newer, older])
    assert [tunings.place(newer["A"]["rows"], length) for length in (0, 1, 11, 12, 31, 32, 99)] == [0, 0, 0, 1, 1, 2, 2]
    completed = tables.completed({"A": {"rows": {"lengths": [12], "forward": [5]}}}, older, {})
    assert completed == {"A": {"rows": {"lengths": [1, 12, 32], "forward": [10, 5, 40], "step": [5, 5, 5]}}}


def test_what_the_user_measured_comes_first_and_holds_for_what_it_was_measured_with(monkeypatch):
    here = processor.this()
    sizes = {"BatchNorm": {"contiguous": {"lengths": [1], "forward": [123], "step": [tunings.NEVER]}}}
    streaming = {"forward": 10, "backward": tunings.NEVER}
    text = tables.as_toml(here, threads=2, torch="x", sizes=sizes, streaming=streaming)
    path = tunings.store(text)
    assert path.exists()
    found = tunings.current()
    assert found.sizes == sizes and found.streaming == streaming and "measured on this machine" in found.origin
    assert worker.environment("cpu")["tuning"] == found.digest != tunings.shipped()[0][1].digest
    for name, changed in (("kernels", lambda: "others"), ("_FORMAT", 0)):
        with monkeypatch.context() as patch:
            patch.setattr(tunings, name, changed)
            assert tunings.own() is None
    with threads(torch.get_num_threads() + 1):
        assert tunings.own() is None
    pretend(monkeypatch, "another")
    assert tunings.own() is None


def test_a_tuning_is_found_for_another_number_of_threads():
    """A study asks so: its runs have one thread each, whatever its own process has."""
    sizes = {"BatchNorm": {"contiguous": {"lengths": [1], "forward": [7], "step": [tunings.NEVER]}}}
    present = torch.get_num_threads()
    assert present != 1
    with threads(1):
        tunings.store(tables.as_toml(processor.this(), threads=1, torch="x", sizes=sizes, streaming={}))
    assert tunings.current(1).sizes == sizes != tunings.current().sizes
    assert tunings.own(1) is not None and tunings.own() is None


def test_a_table_that_could_not_be_stored_has_no_path(monkeypatch):
    monkeypatch.setattr(caches, "store", lambda *of: None)
    assert tunings.store(tables.as_toml(processor.this(), threads=1, torch="x", sizes=TABLE, streaming={})) is None


def test_any_name_of_a_processor_is_read_back():
    named = processor.Processor('a "processor" \\ of \x01 ours', 'key "1"')
    found = tunings.parse(tables.as_toml(named, threads=1, torch="x", sizes=TABLE, streaming={}), "origin")
    assert (found.processor, found.threads) == (named.name, 1)


def test_a_table_in_use_is_not_forgotten():
    sizes = {"BatchNorm": {"contiguous": {"lengths": [1], "forward": [123]}}}
    path = tunings.store(tables.as_toml(processor.this(), threads=1, torch="x", sizes=sizes, streaming={}))
    long_ago = path.stat().st_mtime - 2 * caches.KEPT_DAYS * 86_400
    unused = path.with_name("0123456789abcdef.toml")
    unused.write_text("")
    for each in (path, unused):
        os.utime(each, (long_ago, long_ago))
    assert tunings.own() is not None
    caches.forget(path.parent)
    assert path.exists() and not unused.exists()


def test_a_damaged_table_of_the_user_s_is_not_read():
    sizes = {"BatchNorm": {"contiguous": {"lengths": [1], "forward": [123]}}}
    path = tunings.store(tables.as_toml(processor.this(), threads=1, torch="x", sizes=sizes, streaming={}))
    assert tunings.own() is not None
    path.write_text(path.read_text().replace("threads = 1", "threads = 2"))
    assert tunings.own() is None


def test_without_a_cache_nothing_is_stored_and_the_shipped_table_holds(monkeypatch):
    monkeypatch.setattr(caches, "folder", lambda *names: None)
    assert tunings.store("x") is None
    assert tunings.own() is None
    assert tunings.current().sizes


# ---- what is shipped ----


def test_shipped_tables_are_of_known_norms_layouts_and_modes():
    for _, tuned in tunings.shipped():
        assert set(tuned.streaming) == set(tunings.WAYS)
        for table in (tuned.sizes, tuned.clear):
            assert set(table) == {norm for norm, spec in NORMS.items() if spec.torch_call is not None}
            for norm, layouts in table.items():
                assert set(layouts) == set(crossover.layouts(NORMS[norm]))
                for entry in layouts.values():
                    assert set(entry) <= {"lengths", *crossover.MODES}
                    assert entry["lengths"] == sorted(set(entry["lengths"]))
                    sizes = itertools.chain.from_iterable(entry[mode] for mode in set(entry) - {"lengths"})
                    assert all(size > 0 for size in sizes)


def test_a_shipped_table_is_what_follows_from_its_records():
    names = {path.stem for path in processor_table.PROCESSORS.glob("*.toml")}
    assert names == {path.name for path in RECORDS.iterdir()} and names
    for name in names:
        text = (processor_table.PROCESSORS / f"{name}.toml").read_text()
        facts = tomllib.loads(text)["processor"]
        records = processor_table.recorded(RECORDS / name)
        if (recorded := records[0]["case"].get("processor")) is not None:  # older records do not say it
            assert recorded == {"name": facts["name"], "key": facts["key"]}
        assert text == processor_table.made_of(*records, name=facts["name"], key=facts.get("key", ""))


def test_a_table_is_read_as_it_was_written():
    for key, tuned in tunings.shipped():
        measured = processor.Processor(tuned.processor, key or "")
        text = tables.as_toml(
            measured,
            threads=tuned.threads,
            torch="x",
            sizes=tuned.sizes,
            clear=tuned.clear,
            streaming=tuned.streaming,
        )
        assert tunings.parse(text, tuned.origin) == tuned


def test_what_was_not_measured_has_the_cautious_sizes():
    otherwise = {"A": {"contiguous": {"lengths": [1, 8], "forward": [10, 20], "step": [30, math.inf]}}, "B": {}}
    measured = {"A": {"contiguous": {"lengths": [8], "forward": [5]}}}
    wanted = {"A": {"contiguous": {"lengths": [1, 8], "forward": [10, 5], "step": [30, math.inf]}}, "B": {}}
    assert tables.completed(measured, otherwise, {}) == wanted
    assert tables.completed({}, otherwise, {}) == otherwise
    larger = {"A": {"contiguous": {"lengths": [1, 8], "forward": [10, 2000], "step": [30, math.inf]}}, "B": {}}
    never = {"A": {"contiguous": {"lengths": [1, 8], "forward": [math.inf, math.inf], "step": [math.inf, 40]}}}
    wanted = {"A": {"contiguous": {"lengths": [1, 8], "forward": [math.inf, 2000], "step": [math.inf, 40]}}, "B": {}}
    tried = {key: [10, 40, 1000] for key in itertools.product("A", ["contiguous"], ["forward", "step"], [1, 8])}
    assert tables.completed(never, larger, tried) == wanted, "nothing is known above what was measured"
    near = {"A": {"contiguous": {"lengths": [1, 8], "forward": [16, 80], "step": [40, 20]}}}
    wanted = {"A": {"contiguous": {"lengths": [1, 8], "forward": [10, 80], "step": [30, 20]}}, "B": {}}
    tried = {("A", "contiguous", mode, length): [4, 20, 80] for mode in ("forward", "step") for length in (1, 8)}
    assert tables.completed(near, otherwise, tried) == wanted, "what no measurement contradicts"
    of_a_user = {"Mine": {"contiguous": {"lengths": [1], "forward": [7]}}}
    assert tables.completed(of_a_user, otherwise, {}) == {**otherwise, **of_a_user}


# ---- the sizes that are measured ----

SIZES = tuple(4**power for power in range(4, 12))


def searched(ratio_at):
    """Return the sizes that a search asks for, in that order, where each has this ratio."""
    asked = []
    together({"one": search(SIZES, 1.02)}, lambda _, size: asked.append(size) or ratio_at(size))
    return asked


@pytest.mark.parametrize("first", [*SIZES, 2 * SIZES[-1]])
def test_a_search_finds_the_size_of_a_change_in_fewer_measurements(first):
    found = {size: 0.5 if size >= first else 2.0 for size in searched(lambda size: 0.5 if size >= first else 2.0)}
    rows = {size: statistics.Interval(ratio, ratio, ratio) for size, ratio in found.items()}
    assert crossover.least_size(rows) == (first if first <= SIZES[-1] else tunings.NEVER)
    assert len(found) <= 5 and len(searched(lambda size: 2.0)) == 1


def test_a_search_goes_on_above_a_size_at_which_the_kernels_are_slower_again():
    asked = searched(lambda size: 0.5)
    checked = asked[-1]
    assert asked[0] == SIZES[-1] and min(asked) < checked, "the middle of what was left out"
    again = searched(lambda size: 1.5 if size == checked else 0.5)
    assert again[: len(asked)] == asked and again[len(asked) :] == [SIZES[SIZES.index(checked) + 1]]


def test_a_search_asks_for_no_size_twice_and_for_none_where_there_is_none():
    for ratio in (0.5, 1.0, 1.01, 2.0):
        asked = searched(lambda size, ratio=ratio: ratio)
        assert len(asked) == len(set(asked)) > 0
    assert list(search((), 1.02)) == [] and together({}, max) == {}


def test_searches_of_several_modes_share_the_operands_of_a_size():
    asked = []
    changes = {"early": 4**5, "late": 4**9}
    found = together(
        {name: search(SIZES, 1.02) for name in changes},
        lambda name, size: asked.append(size) or (0.5 if size >= changes[name] else 2.0),
    )
    assert asked[:4] == [SIZES[-1], SIZES[-1], SIZES[3], SIZES[3]]
    assert {name: min(size for size, ratio in of.items() if ratio < 1) for name, of in found.items()} == changes
