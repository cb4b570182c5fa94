"""The event loop over flat sequences, in plain Python: `compiled` makes machine code of it where numba is installed.

Both do the same arithmetic in the same order, so both find the same times.
"""

# pyright: basic
from __future__ import annotations

from heapq import heappop, heappush

START, DONE, LEFT = -1, -2, -3
"""What happens to a row, besides the hops of its message, which count from 0."""


def run(flat, samples, jobs, keep, least, close, fewest, done, ends, begun, ended, free, busy, row_starts, row_ends):
    """Follow all rows of some samples, or of fewer where their ends come at steady distances before that.

    Args:
        flat: what the jobs do: a `plan.Flat`.
        samples: how many to run at most.
        jobs: how many of the jobs take part: the first ones.
        keep: whether to note when rows start and end.
        least: distance of samples below which nothing is steady.
        close: stop when some samples ended at a mean distance that is that of as many before them, to this share of it, and so did as
            many that ended one sample before them, two before, and so on; below 0 run all.
        fewest: how many samples these are at least.
        done: rows of each job that are there, of all samples: made here, as all that follows.
        ends: when each sample is over [samples].
        begun: when each job's first row starts; −1 before.
        ended: when its last row ends.
        free: from when on each resource is free.
        busy: time that it was at work.
        row_starts: when rows start, where they are kept [rows of all jobs · samples]: each job's samples stand together.
        row_ends: when they end.

    Returns:
        Time that rows waited for links and ports; samples that ended; over how many the mean distance is steady, 0 where it is not.
    """
    rows, first, counted = flat.rows, flat.first, flat.counted
    wait_start, wait_job, wait_rows = flat.wait_start, flat.wait_job, flat.wait_rows
    after_start, after_job, after_lag = flat.after_start, flat.after_job, flat.after_lag
    caller, receiver = flat.caller, flat.receiver
    unit, work, cells = flat.unit, flat.work, flat.cells
    reader, read, writer, write = flat.reader, flat.read, flat.writer, flat.write
    travels, way_start, way_resource, way_delay = flat.travels, flat.way_start, flat.way_resource, flat.way_delay
    link, port, from_dram, to_dram = flat.link, flat.port, flat.from_dram, flat.to_dram
    dram, latency, setup = flat.dram, flat.latency, flat.setup

    def reserve(resource, now, length):
        """When a resource is free for so long, from now on."""
        at = max(free[resource], now)
        free[resource] = at + length
        busy[resource] += length
        return at

    row, turn, arrived, parked = [0] * jobs, [0] * jobs, [0] * jobs, [0] * jobs
    checked, passed, wanted = [0] * jobs, [0] * jobs, [0] * jobs
    sleeper, last_sleeper, next_sleeper = [-1] * jobs, [-1] * jobs, [-1] * jobs
    open_jobs = 0
    for job in range(jobs):
        open_jobs += counted[job]
    left = [open_jobs] * samples
    over, tick, waited, now = 0, 0, 0.0, 0.0
    heap = [(0.0, 0, 0, 0, 0.0)]
    heap.pop()
    ready = list(range(jobs))
    while True:
        for entry in ready:
            job = entry
            if entry < 0:
                job = ~entry
            else:
                # Does the next row find all that it waits for? If not, what it waits for wakes the job.
                sample, slept, need = turn[job], -1, 0
                if row[job] == 0:
                    for place in range(after_start[job] + passed[job], after_start[job + 1]):
                        other = after_job[place]
                        need = rows[other] * (sample + 1 - after_lag[place])
                        if done[other] < need:
                            slept = other
                            break
                        passed[job] += 1
                if slept < 0:
                    here = first[job] + row[job]
                    for place in range(wait_start[here] + checked[job], wait_start[here + 1]):
                        other = wait_job[place]
                        need = wait_rows[place] + rows[other] * sample
                        if done[other] < need:
                            slept = other
                            break
                        checked[job] += 1
                if slept >= 0:
                    wanted[job] = need
                    next_sleeper[job] = -1
                    if sleeper[slept] < 0:
                        sleeper[slept] = job
                    else:
                        next_sleeper[last_sleeper[slept]] = job
                    last_sleeper[slept] = job
                    continue
                if caller[job] >= 0 and arrived[caller[job]] <= row[job] + rows[job] * sample:
                    parked[job] = 1
                    continue
                checked[job] = 0
                row[job] += 1
                resource = unit[job]
                if resource >= 0:
                    at = reserve(resource, now, work[job])
                    if at > now:
                        tick += 1
                        heappush(heap, (at, tick, job, START, 0.0))
                        continue
            # The row has its unit: reserve ports, or send it on its way.
            if keep:
                row_starts[first[job] * samples + rows[job] * turn[job] + row[job] - 1] = now
            if begun[job] < 0.0:
                begun[job] = now
            end = now + work[job]
            resource = reader[job]
            if resource >= 0:
                at = reserve(resource, now, read[job])
                waited += at - now
                end = max(end, at + read[job])
            tick += 1
            if not travels[job]:
                resource = writer[job]
                if resource >= 0:
                    at = reserve(resource, now, write[job])
                    waited += at - now
                    end = max(end, at + write[job])
                heappush(heap, (end, tick, job, DONE, 0.0))
            elif from_dram[job]:
                at = reserve(dram, now, port[job])
                waited += at - now
                heappush(heap, (at + port[job], tick, job, LEFT, 0.0))
                tick += 1
                heappush(heap, (at + latency, tick, job, 0, at + port[job] + latency))
            else:
                heappush(heap, (now + setup, tick, job, 0, end + setup))
        ready.clear()
        if not heap:
            break
        now, _, job, stage, tail = heappop(heap)
        finished, goes_on = False, False
        if stage == START:
            ready.append(~job)
        elif stage == DONE:
            finished, goes_on = True, not travels[job]
        elif stage == LEFT:
            finished, goes_on = receiver[job] >= 0, True
        elif stage < way_start[job + 1] - way_start[job]:
            # A message's head comes to the next port or link of its way.
            resource, delay = way_resource[way_start[job] + stage], way_delay[way_start[job] + stage]
            at = reserve(resource, now, link[job])
            waited += at - now
            tail = max(tail, at + delay + link[job])
            if stage == 0 and not from_dram[job]:
                tick += 1
                heappush(heap, (max(at + link[job], tail - setup), tick, job, LEFT, 0.0))
            tick += 1
            heappush(heap, (at + delay, tick, job, stage + 1, tail))
        elif now < tail:
            tick += 1
            heappush(heap, (tail, tick, job, stage, tail))
        elif receiver[job] >= 0:
            # Its tail has come, to be taken; or to be written, here or in outer memory.
            arrived[job] += 1
            if parked[receiver[job]]:
                parked[receiver[job]] = 0
                ready.append(receiver[job])
        else:
            resource, length, rest = unit[job], cells[job], 0.0
            if writer[job] >= 0:
                resource, length = writer[job], write[job]
            elif to_dram[job]:
                resource, length, rest = dram, port[job], latency
            at = reserve(resource, now, length)
            if writer[job] >= 0 or to_dram[job]:
                waited += at - now
            tick += 1
            heappush(heap, (at + length + rest, tick, job, DONE, 0.0))
        if finished:
            # A row is there: wake those who waited for it.
            done[job] += 1
            ended[job] = now
            if keep:
                row_ends[first[job] * samples + done[job] - 1] = now
            before, here = -1, sleeper[job]
            while here >= 0:
                following = next_sleeper[here]
                if wanted[here] <= done[job]:
                    ready.append(here)
                    if before < 0:
                        sleeper[job] = following
                    else:
                        next_sleeper[before] = following
                    if following < 0:
                        last_sleeper[job] = before
                else:
                    before = here
                here = following
            if counted[job] and done[job] % rows[job] == 0:
                sample = done[job] // rows[job] - 1
                left[sample] -= 1
                if left[sample] == 0:
                    ends[sample] = now
                    over = sample + 1
                    for count in range(fewest, (sample + 1) // 3 + 1 if close >= 0.0 else 0):
                        length = ends[sample] - ends[sample - count]
                        steady = length >= least * (1.0 - close) * count
                        for last in range(sample, sample - count, -1):
                            change = ends[last] - 2.0 * ends[last - count] + ends[last - 2 * count]
                            steady = steady and abs(change) <= close * length
                        if steady:
                            return waited, over, count
        if goes_on:
            if row[job] == rows[job] and turn[job] + 1 < samples:
                row[job], passed[job] = 0, 0
                turn[job] += 1
            if row[job] < rows[job]:
                ready.append(job)
    return waited, over, 0
