"""The processes of a running resolver: who starts, hears, replaces and ends whom.

    supervisor ── lane 0, lane 1 ...   answer, each with sockets of its own; nothing but queries matters to them
        │
        ├──────── control              watches and compiles (`resolver.control`)
        └──────── standby              takes the supervisor's place when it is killed

Between the supervisor and each of them runs a channel of frames. A release goes control -> supervisor -> every lane
and the standby, whole or not at all, as sealed memory that all map; figures go lane -> supervisor -> /metrics.

    channel      whole frames and descriptors over a socket pair
    loads        frames gathered into whole releases
    enforcement  which release is in force, in how many lanes, and what is said of it
    counting     what all lanes counted together, the dead ones, too
    children     forking, and how soon what ended is started again
    succession   the standby, and the pipe by which new lanes relieve those left behind
    supervisor   all of this in one loop
    settings, sockets, lane    one lane: what it is told, what it listens on, its loop
"""
