"""Every way in which a pool can fail, said to a mine as a user starts it, with machines that go on working.

One mine serves all stories at once: each has an account with a pool of its own, and one pool stands by for all. A story breaks
its pool; the mine must notice, say what is wrong, have its machine at work for the standby within a second, on the same
connection, and bring it back once the pool is well. In the end the books must agree: each share that met its pool's target has
exactly one fate, and the one that the pool knows of.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import chain as chained
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from hashwerk.store import LedgerReader
from hashwerk.work.fate import Fate
from hashwerk.work.share import FLAG_BLOCK, Verdict
from support.machine import STRATUM, Machine
from support.mine import RunningMine, running_mine
from support.upstream import Chain, ScriptedPool

PASSWORD: Final = "correct horse battery"  # looked for where it must not be
POOL_DIFFICULTY: Final = 2.0**-26
REPLY_S, SILENCE_S, STALE_S, CONNECT_S = 1.0, 2.0, 0.8, 2.0
SWITCH_S: Final = 1.0  # from the moment a failure is known
SLACK_S: Final = 4.0  # for a busy computer, on top of what a failure takes to be known
STORY_S: Final = 30.0
#: Stories that move the chain, which others would notice.
ALONE: Final = ("works-on-an-old-block",)
LEDGER: Final = Path("data") / "testnet4" / "ledger.sqlite"


class Watch:
    """What the mine says of its pools, asked for again and again."""

    def __init__(self, mine: RunningMine) -> None:
        self._mine = mine
        self._changed = asyncio.Condition()
        self.upstreams: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []  # oldest first
        self.texts: list[str] = []  # every answer, to be searched

    async def run(self) -> None:
        """Ask until cancelled."""
        async with httpx.AsyncClient(trust_env=False, base_url=self._mine.urls["web"]) as http:
            while True:
                upstreams = await http.get("/api/v1/upstreams")
                events = await http.get("/api/v1/events", params={"limit": 500})
                self.texts += [upstreams.text, events.text]
                async with self._changed:
                    self.upstreams = {
                        each["name"]: each for each in upstreams.raise_for_status().json()["upstreams"]
                    }
                    self.events = events.raise_for_status().json()["events"][::-1]
                    self._changed.notify_all()
                await asyncio.sleep(0.1)

    async def until(self, condition: Callable[[Watch], Any], what: str, within_s: float = 10.0) -> Any:
        """Return the condition's first true value.

        Raises:
            AssertionError: If there is none in time.
        """
        try:
            async with asyncio.timeout(within_s), self._changed:
                while not (found := condition(self)):
                    await self._changed.wait()
                return found
        except TimeoutError:
            raise AssertionError(f"the mine never said: {what}; {self.of(what)}") from None

    def of(self, what: str) -> str:
        """Return what was said of the pools that a text names, or of none."""
        return "\n".join(
            [str(view) for name, view in self.upstreams.items() if name in what]
            + [event["message"] for event in self.events if event["message"].partition(" ")[0] in what]
        )

    def said(self, name: str, words: str, since: float = 0.0) -> dict[str, Any] | None:
        """Return the first event of a pool that has these words."""
        for event in self.events:
            text = event["message"]
            if (
                event["kind"] == "upstream"
                and text.startswith(name + " ")
                and words in text
                and event["time"] >= since
            ):
                return event
        return None


@dataclass
class Scene:
    """A story's own account, pool and machine, and what all stories share."""

    name: str
    mine: RunningMine
    watch: Watch
    chain: Chain
    pool: ScriptedPool
    spare: ScriptedPool
    machines: list[Machine] = field(default_factory=list)
    group: asyncio.TaskGroup | None = None

    async def machine(self, number: int = 1, **options: bool) -> Machine:
        """Bring a machine of this story's account, which hands in shares from now on."""
        machine = await Machine.begin(self.mine.stratum, f"{self.name}.{self.name}-{number}", **options)
        self.machines.append(machine)
        assert self.group is not None
        self.group.create_task(keep_working(machine))
        return machine

    def at(self, machine: Machine, pool: ScriptedPool) -> bool:
        """Whether a machine works for a pool."""
        return machine.job is not None and tag(pool.name) in machine.job.coinbase1

    async def at_work(self, machine: Machine, pool: ScriptedPool, within_s: float = 15.0) -> None:
        """Wait until a machine works for a pool and the pool took a new share of it."""
        await machine.until(lambda: self.at(machine, pool), within_s)
        user = f"acct.{machine.user.partition('.')[2]}"
        before = pool.taken[user]
        await pool.until(lambda pool: pool.taken[user] > before, within_s)

    async def fails(self, trigger: Callable[[], Any], words: str, known_within_s: float) -> Machine:
        """Let the pool fail, and see it known, named, and the machine at work elsewhere; return the machine."""
        machine = await self.machine()
        await self.at_work(machine, self.pool)
        failed_at = time.time()
        outcome = trigger()
        if asyncio.iscoroutine(outcome):
            await outcome
        await machine.until(lambda: self.at(machine, self.spare), known_within_s + SLACK_S)
        moved_at = machine.job_at
        event = await self.watch.until(
            lambda watch: watch.said(self.pool.name, f"failed: {words}", failed_at - 1),
            f"{self.pool.name} failed: {words}",
        )
        assert moved_at - event["time"] < SWITCH_S, (
            f"moved {moved_at - event['time']:.2f} s after it was known"
        )
        await self.at_work(machine, self.spare)
        return machine

    async def comes_back(self, machine: Machine) -> None:
        """See the machine return to its own pool, on the connection it has had from the beginning."""
        await self.at_work(machine, self.pool)
        assert not machine.is_lost
        wanted = {"state": "working", "role": "in use", "reason": None}
        await self.watch.until(
            lambda watch: wanted.items() <= watch.upstreams[self.pool.name].items(),
            f"{self.pool.name} is well",
        )


def tag(name: str) -> bytes:
    """Return a pool's name as it stands in its coinbases."""
    return f"/{name}/".encode()


async def keep_working(machine: Machine) -> None:
    """Hand in a share every few milliseconds, a few under way at a time, until the machine is closed."""
    while not machine.is_lost:
        if len(machine.under_way) < 8:
            machine.hand_in(machine.find())
        await asyncio.sleep(0.02)


Story = Callable[[Scene], Awaitable[None]]
STORIES: Final[dict[str, tuple[Story, dict[str, Any], str]]] = {}


def story(upstream: str = "", **pool: Any) -> Callable[[Story], Story]:
    """Add a story, with settings of its pool and further lines of its section of the site file."""

    def add(function: Story) -> Story:
        STORIES[function.__name__.replace("_", "-")] = function, pool, upstream
        return function

    return add


# --- pools that fail -----------------------------------------------------------------------------------------------


@story()
async def hangs(scene: Scene) -> None:
    def hang() -> None:
        scene.pool.silent = True

    machine = await scene.fails(hang, "a share was not answered within 1 s", REPLY_S)
    view = await scene.watch.until(
        lambda watch: watch.upstreams[scene.pool.name]["role"] == "out" and watch.upstreams[scene.pool.name],
        f"{scene.pool.name} is out",
    )
    assert view["state"] == "failed"
    assert view["reason"]
    assert view["lost"] > 0
    assert scene.watch.upstreams["spare"]["role"] == "in use"
    scene.pool.silent = False
    await scene.comes_back(machine)


@story()
async def sends_no_jobs(scene: Scene) -> None:
    def stop() -> None:
        scene.pool.jobless = True

    machine = await scene.fails(stop, "connected, but no new job for", SILENCE_S)
    scene.pool.be_well()
    await scene.comes_back(machine)


@story()
async def closes(scene: Scene) -> None:
    machine = await scene.fails(scene.pool.close_all, "the ", 0.0)
    await scene.comes_back(machine)


@story()
async def refuses_connections(scene: Scene) -> None:
    machine = await scene.fails(scene.pool.refuse, "the ", 0.0)
    await scene.watch.until(
        lambda watch: "no connection" in (watch.upstreams[scene.pool.name]["reason"] or ""),
        f"{scene.pool.name} no connection",
    )
    await scene.pool.listen()
    await scene.comes_back(machine)


@story()
async def works_on_an_old_block(scene: Scene) -> None:
    def be_stuck() -> None:
        scene.pool.stuck = True
        scene.chain.advance()

    machine = await scene.fails(be_stuck, "works on an old block for", STALE_S)
    scene.pool.be_well()
    await scene.comes_back(machine)


@story()
async def refuses_everything(scene: Scene) -> None:
    def be_wicked() -> None:
        scene.pool.refusal = (20, "we are closed today")

    machine = await scene.fails(be_wicked, "refused ", 0.0)
    await scene.watch.until(
        lambda watch: watch.upstreams[scene.pool.name]["rejected"].get("we are closed today", 0) > 10,
        f"{scene.pool.name} refused",
    )
    scene.pool.be_well()
    await scene.comes_back(machine)


@story()
async def counts_with_another_difficulty(scene: Scene) -> None:
    def be_wrong() -> None:
        scene.pool.refusal = (23, "high-hash")

    machine = await scene.fails(be_wrong, "refuses shares that meet the difficulty it announced", 0.0)
    scene.pool.be_well()
    await scene.comes_back(machine)


@story()
async def answers_too_late(scene: Scene) -> None:
    def be_slow() -> None:
        scene.pool.answer_after_s = 2 * REPLY_S

    machine = await scene.fails(be_slow, "a share was not answered within 1 s", REPLY_S)
    scene.pool.be_well()
    await scene.comes_back(machine)


@story()
async def talks_rubbish(scene: Scene) -> None:
    machine = await scene.fails(
        lambda: scene.pool.send_raw(b"\xff\x00\x80 this is no message\n"), "not a Stratum server", 0.0
    )
    await scene.comes_back(machine)


@story()
async def sends_a_line_without_end(scene: Scene) -> None:
    machine = await scene.fails(lambda: scene.pool.send_raw(b'{"x": "' + b"y" * 3_000_000), "", 0.0)
    await scene.comes_back(machine)


@story()
async def stops_in_the_middle_of_a_line(scene: Scene) -> None:
    machine = await scene.fails(scene.pool.send_half_a_job, "a share was not answered within 1 s", REPLY_S)
    await scene.comes_back(machine)


@story()
async def sends_us_to_a_stranger(scene: Scene) -> None:
    machine = await scene.fails(
        lambda: scene.pool.tell_all("client.reconnect", "pool.attacker.example", 3333, 0),
        "the pool asked us to go to pool.attacker.example, which is not of its domain: not followed",
        0.0,
    )
    await scene.comes_back(machine)


@story()
async def sends_us_to_itself(scene: Scene) -> None:
    connections = scene.pool.connections
    machine = await scene.fails(
        lambda: scene.pool.tell_all("client.reconnect", "127.0.0.1", scene.pool.port, 0),
        "the pool asked us to connect",
        0.0,
    )
    await scene.comes_back(machine)
    assert scene.pool.connections == connections + 1


# --- pools that are only different -----------------------------------------------------------------------------------


async def stays(scene: Scene, machine: Machine, count: int = 5) -> None:
    """See so many more shares accepted at the story's pool, all in the machine's name, none elsewhere."""
    before = scene.pool.taken.total()
    await scene.pool.until(lambda pool: pool.taken.total() >= before + count)
    assert scene.at(machine, scene.pool)
    assert not machine.is_lost
    assert not scene.spare.taken[f"acct.{scene.name}-1"]
    assert scene.watch.said(scene.pool.name, "failed") is None


@story()
async def answers_slowly(scene: Scene) -> None:
    scene.pool.answer_after_s = REPLY_S / 3
    machine = await scene.machine()
    await stays(scene, machine)
    view = await scene.watch.until(
        lambda watch: watch.upstreams[scene.pool.name]["latency_ms_p50"] and watch.upstreams[scene.pool.name],
        "latency",
    )
    assert view["latency_ms_p50"] >= 1_000 * REPLY_S / 3


@story()
async def writes_in_pieces(scene: Scene) -> None:
    machine = await scene.machine()
    await stays(scene, machine, 1)
    scene.pool.send_half_a_job()
    await stays(scene, machine, 2)
    scene.pool.send_the_rest()
    await stays(scene, machine)


@story()
async def sends_huge_jobs(scene: Scene) -> None:
    scene.pool.huge = True
    scene.pool.send_job(clean=True)
    machine = await scene.machine()
    await machine.until(lambda: machine.job is not None and len(machine.job.branch) == 16)
    assert machine.job is not None
    assert len(machine.job.coinbase2) > 12_000
    await stays(scene, machine)


@story(job_every_s=0.05)
async def sends_twenty_jobs_a_second(scene: Scene) -> None:
    machine = await scene.machine()
    before = machine.jobs
    await stays(scene, machine, 20)
    assert machine.jobs > before + 5


@story()
async def changes_its_difficulty(scene: Scene) -> None:
    machine = await scene.machine()
    await stays(scene, machine, 3)
    scene.pool.set_difficulty(4 * POOL_DIFFICULTY, with_job=True)
    await scene.pool.until(lambda pool: pool.accepted[-1].difficulty == 4 * POOL_DIFFICULTY)
    scene.pool.set_difficulty(POOL_DIFFICULTY, with_job=False)
    await stays(scene, machine, 3)
    await scene.pool.until(lambda pool: pool.accepted[-1].difficulty == POOL_DIFFICULTY)
    await stays(scene, machine, 3)


@story()
async def changes_the_extranonce(scene: Scene) -> None:
    machine = await scene.machine()
    await stays(scene, machine, 3)
    mine = machine.extranonce1
    for _ in range(3):
        scene.pool.set_extranonce()
        await stays(scene, machine, 3)
    scene.pool.set_extranonce(with_job=False)
    await stays(scene, machine, 3)
    assert machine.extranonce1 == mine  # its own did not change: all it got is a job


@story()
async def changes_the_version_mask(scene: Scene) -> None:
    machine = await scene.machine(rolls=True)
    assert machine.mask == 0x1FFFE000
    await stays(scene, machine, 3)
    for mask in (0x0000E000, 0x0, 0x1FFFE000):
        scene.pool.set_version_mask(mask)
        await machine.until(lambda mask=mask: machine.mask == mask)
        await stays(scene, machine, 3)


@story(version_mask=0)
async def rolls_no_versions(scene: Scene) -> None:
    machine = await scene.machine(rolls=True)
    assert machine.mask == 0 or await machine.until(lambda: machine.mask == 0) is None
    await stays(scene, machine)


@story(second_names=False)
async def knows_one_name_only(scene: Scene) -> None:
    machine = await scene.machine()
    await stays(scene, machine)
    assert {share.user for share in scene.pool.accepted} == {"acct"}


@story()
async def says_something(scene: Scene) -> None:
    machine = await scene.machine()
    scene.pool.tell_all("client.show_message", "maintenance at noon")
    await scene.watch.until(
        lambda watch: watch.said(scene.pool.name, "says: maintenance at noon"), "what it says"
    )
    await stays(scene, machine)


@story(string_errors=True)
async def refuses_in_its_own_words(scene: Scene) -> None:
    machine = await scene.machine()
    await stays(scene, machine, 20)
    scene.pool.refusal = (0, "Invalid block")
    before = len(scene.pool.rejected)
    await scene.pool.until(lambda pool: len(pool.rejected) >= before + 2)
    scene.pool.refusal = None
    await stays(scene, machine)
    await scene.watch.until(
        lambda watch: watch.upstreams[scene.pool.name]["rejected"].get("Invalid block", 0) >= 2, "its words"
    )


@story()
async def machines_have_their_names(scene: Scene) -> None:
    for number in range(1, 4):
        await scene.machine(number)
    wanted = {f"acct.{scene.name}-{number}" for number in range(1, 4)}
    await scene.pool.until(lambda pool: wanted <= {share.user for share in pool.accepted})


# --- the mine ------------------------------------------------------------------------------------------------------


def site_file(pools: dict[str, ScriptedPool]) -> str:
    """Return the settings of a mine with these pools."""
    text = STRATUM + '\nwhen_upstreams_fail = "last"\n'
    for name, pool in pools.items():
        text += (
            f'\n[[upstream]]\nname = "{pool.name}"\nurl = "{pool.url}"\nuser = "acct"\npassword = "{PASSWORD}"\n'
            f"priority = {2 if name == 'spare' else 1}\nconnect_timeout_s = {CONNECT_S}\n"
            f"reply_timeout_s = {REPLY_S}\nsilence_timeout_s = {SILENCE_S}\nstale_timeout_s = {STALE_S}\n"
            "retry_min_s = 0.1\nretry_max_s = 0.3\nreturn_after_s = 1\n"
        )
        if name != "spare":
            text += f'accounts = ["{name}"]\n{STORIES[name][2]}\n'
    return text


@dataclass
class Played:
    """What became of the stories, and what is left to look at."""

    outcomes: dict[str, BaseException | None]
    pools: dict[str, ScriptedPool]
    folder: Path
    said: str  # everything the API answered
    machines: dict[str, list[Machine]]


async def tell(scenes: dict[str, Scene]) -> dict[str, BaseException | None]:
    """Tell stories at once, and return what became of each."""
    outcomes = await asyncio.gather(
        *(asyncio.wait_for(STORIES[name][0](scene), STORY_S) for name, scene in scenes.items()),
        return_exceptions=True,
    )
    return dict(zip(scenes, outcomes, strict=True))


async def play(folder: Path) -> Played:
    """Run one mine and tell it all stories at once."""
    chain, site = Chain(), folder / "site.toml"
    async with AsyncExitStack() as stack:
        pools = {}
        for name, settings in {**{name: each[1] for name, each in STORIES.items()}, "spare": {}}.items():
            wanted = {"difficulty": POOL_DIFFICULTY, "job_every_s": 0.5, "chain": chain} | settings
            pools[name] = await stack.enter_async_context(
                ScriptedPool(name=f"p-{name}" if name != "spare" else name, **wanted)
            )
        site.write_text(site_file(pools))
        mine = await stack.enter_async_context(running_mine(folder / "mine", str(site), "--no-miner"))
        watch = Watch(mine)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch.run())
            scenes = {
                name: Scene(name, mine, watch, chain, pools[name], pools["spare"], group=group)
                for name in STORIES
            }
            for pool in pools.values():
                await pool.until(lambda pool: any(session.jobs for session in pool.sessions))
            outcomes = await tell({name: scene for name, scene in scenes.items() if name not in ALONE})
            outcomes |= await tell({name: scenes[name] for name in ALONE})
            machines = {name: scene.machines for name, scene in scenes.items()}
            for machine in chained.from_iterable(machines.values()):
                machine.close()
            watching.cancel()
        await mine.stop()
        return Played(
            outcomes,
            pools,
            folder / "mine",
            "\n".join(watch.texts),
            machines,
        )


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return asyncio.run(play(tmp_path_factory.mktemp("upstreams")))


@pytest.mark.parametrize("name", STORIES)
def test_a_pool_that(played: Played, name: str) -> None:
    outcome = played.outcomes[name]
    if outcome is not None:
        raise outcome
    assert played.pools[name].violations == []


def test_every_share_that_met_a_pools_target_has_exactly_one_fate(played: Played) -> None:
    with LedgerReader(played.folder / LEDGER) as reader:
        _, shares = reader.shares(0, 10_000_000)
        fates = reader.fates(0, 2**62)
        names = {row.id: row.name for row in reader.upstreams()}
        machines = {row.id: row.machine for row in reader.workers()}
        jobs = {int(job): reader.job(int(job)) for job in set(shares["job"].tolist())}
        assert len(reader.without_fate(1e9)) == 0
    pool_of = {
        number: names[job.upstream.upstream_id] for number, job in jobs.items() if job and job.upstream
    }
    met = shares[(shares["verdict"] == Verdict.ACCEPTED) & (shares["flags"] & FLAG_BLOCK != 0)]
    met = met[[job in pool_of for job in met["job"].tolist()]]
    assert len(met) > 1_000
    assert sorted(met["hash_key"].tolist()) == sorted(fates["hash_key"].tolist())
    for name, pool in ((pool.name, pool) for pool in played.pools.values()):
        here = {
            kind: {
                row["hash_key"].tobytes()
                for row in fates[fates["fate"] == kind]
                if names[int(row["upstream"])] == name
            }
            for kind in Fate
        }
        took = {share.hash_key for share in pool.accepted}
        refused = {share.hash_key for share in pool.rejected}
        # What the pool said it took, it took; what it took without our hearing of it is on record as lost.
        assert here[Fate.ACCEPTED] <= took, name
        assert took <= here[Fate.ACCEPTED] | here[Fate.LOST], name
        assert here[Fate.REJECTED] <= refused, name
        assert refused <= here[Fate.REJECTED] | here[Fate.LOST], name
    # Each is in the name of the machine that found it.
    told = {share.hash_key: share.user for pool in played.pools.values() for share in pool.shares}
    for row in fates[fates["fate"] == Fate.ACCEPTED]:
        assert told[row["hash_key"].tobytes()] in {"acct", f"acct.{machines[int(row['worker'])]}"}


def test_pools_that_did_not_fail_lost_nothing(played: Played) -> None:
    with LedgerReader(played.folder / LEDGER) as reader:
        names = {row.id: row.name for row in reader.upstreams()}
        reasons = reader.fate_reasons()
        fates = reader.fates(0, 2**62)
    lost = [
        (names[int(row["upstream"])], reasons.get(int(row["reason"]), ""))
        for row in fates[fates["fate"] == Fate.LOST]
    ]
    kept = STAYING & set(played.outcomes)
    assert [each for each in lost if each[0].removeprefix("p-") in kept] == []
    assert all(reason for _, reason in lost)


#: The stories whose pool must never have been left.
STAYING: Final = {name for name, (function, _, _) in STORIES.items() if "stays" in function.__code__.co_names}


def test_machines_were_told_the_truth(played: Played) -> None:
    """Whatever pools did, a machine's share counts here, and nothing it was told is taken back."""
    with LedgerReader(played.folder / LEDGER) as reader:
        _, shares = reader.shares(0, 10_000_000)
    stored = {
        (row["job"].item(), row["extranonce1"].item(), row["extranonce2"].item(), row["nonce"].item())
        for row in shares[shares["verdict"] == Verdict.ACCEPTED]
    }
    for machine in chained.from_iterable(played.machines.values()):
        assert {
            (share.job, share.extranonce1, share.extranonce2, share.nonce) for share in machine.accepted
        } <= stored


def test_the_password_is_nowhere(played: Played) -> None:
    assert all(PASSWORD in pool.passwords for pool in played.pools.values() if pool.connections)
    files = [path for path in played.folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    assert PASSWORD not in played.said
