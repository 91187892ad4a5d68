-- Finds the events that a trace recorded. Trace ids are random, so a tree of them would be written all over by
-- every append. A Bloom filter of each range of pages tells which ranges may hold a trace, and is made when the
-- range is full: an append does nothing to it. ADR 14 has the measurements and what a look-up has to mind.
create index events_by_trace on events
    using brin ((substr(traceparent, 4, 32)) text_bloom_ops (n_distinct_per_range = 1024, false_positive_rate = 0.001))
    with (pages_per_range = 128, autosummarize = on);
