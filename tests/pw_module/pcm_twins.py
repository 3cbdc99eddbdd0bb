"""Copies of the PCM's sources with one rule left out: as stream_twins.py."""

from __future__ import annotations

PCM_TWINS = {
    "pcm_passes_on_a_lap_ahead": (
        "test_pcm", "pcm/flow.c",
        "frames = frames < unheard_room(f) ? frames : unheard_room(f);", "",
    ),
    "pcm_believes_what_a_program_says": (
        "test_pcm", "pcm/flow.c", "if (ahead <= p->buffer_frames)", "if (true)",
    ),
    "pcm_is_drained_when_all_is_taken": (
        "test_pcm", "pcm/flow.c", "if (all_heard || now_nsec >= p->drain_until_nsec)", "if (true)",
    ),
    "pcm_stops_who_goes_on_in_an_xrun": (
        "test_pcm", "pcm/flow.c",
        "        if (!atomic_load_explicit(&p->share->program.goes_on_in_xrun, "
        "memory_order_relaxed))\n            halt(p, XPA_PCM_XRUN);",
        "        halt(p, XPA_PCM_XRUN);",
    ),
    "pcm_wakes_at_events_only": (
        "test_pcm", "pcm/flow.c",
        "    arm(p, at == 0 || at > now_nsec + SETTLE_NSEC ? at : now_nsec + SETTLE_NSEC);",
        "    (void)at;",
    ),
    "pcm_tells_the_age_of_the_last_event": (
        "test_pcm", "pcm/flow.c", "xpa_front_position_at(f, now_nsec) + age",
        "(double)f->stream.position_frames + age",
    ),
    "pcm_outlives_its_stream": (
        "test_pcm", "pcm/pcm.c",
        "    xpa_pcm_update(p, now_nsec); /* one", "    (void)now_nsec; /* one",
    ),
}  # fmt: skip
