/* Sends DNS queries over UDP and says what became of each.
 *
 *   sender HOST PORT SOURCE SECONDS RATE COUNT SOCKETS SEED QUERIES OUTPUT
 *
 * QUERIES holds messages, each behind two octets of length; they are sent in turn, over SOCKETS sockets bound to
 * SOURCE, at RATE a second, or for RATE 0 as fast as they are answered (WINDOW outstanding at each socket). It ends
 * after SECONDS or COUNT messages, and a second for what is still on its way. Where SEED is not 0 the first label of
 * each query is replaced by random letters.
 *
 * OUTPUT gets one record of 16 octets for each query, in the order in which the answers came, the lost ones last:
 *   u32 sent (microseconds from the start), u32 latency (microseconds, 2^32 - 1: no answer), u16 index into QUERIES,
 *   u8 flags (lowest 4 bits RCODE, 0x10 TC, 0x20 the answer section is not empty, 0x40 no answer), u8 socket,
 *   u32 serial of an SOA that is the first record, whatever its section, 0 if none is
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, WINDOW = 64, MAX_SOCKETS = 64, MAX_BYTES = 4096, IDS = 65536, NOBODY = 65535 };

typedef struct { uint32_t sent, latency; uint16_t index; uint8_t flags, socket; uint32_t serial; } record;
typedef struct { uint32_t sent; uint16_t index; } waiting;

static int sockets[MAX_SOCKETS];
static waiting *table[MAX_SOCKETS];
static uint16_t next_id[MAX_SOCKETS];
static long outstanding[MAX_SOCKETS];
static FILE *output;
static struct timespec begin;

static uint32_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint32_t)((t.tv_sec - begin.tv_sec) * 1000000L + (t.tv_nsec - begin.tv_nsec) / 1000);
}

static void fail(const char *what) { perror(what); exit(1); }

static void put(uint32_t sent, uint32_t latency, uint16_t index, uint8_t flags, int which, uint32_t serial) {
    record r = {sent, latency, index, flags, (uint8_t)which, serial};
    if (fwrite(&r, sizeof r, 1, output) != 1) fail("output");
}

static size_t skip_name(const uint8_t *m, size_t n, size_t at) {
    while (at < n && m[at] && m[at] < 64) at += m[at] + 1;
    return at >= n ? n : at + (m[at] ? 2 : 1);
}

static uint32_t serial_of(const uint8_t *m, size_t n) {
    if (m[6] | m[7] || !(m[8] | m[9] | m[10] | m[11])) return 0;
    size_t at = skip_name(m, n, skip_name(m, n, 12) + 4);
    if (at + 10 > n || m[at] || m[at + 1] != 6) return 0;
    size_t end = at + 10 + (m[at + 8] << 8 | m[at + 9]);
    if (end > n || end < at + 30) return 0;
    m += end - 20;
    return (uint32_t)m[0] << 24 | m[1] << 16 | m[2] << 8 | m[3];
}

static void receive(int which) {
    static uint8_t room[BATCH][MAX_BYTES];
    struct iovec vectors[BATCH];
    struct mmsghdr heads[BATCH];
    memset(heads, 0, sizeof heads);
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){room[i], MAX_BYTES};
        heads[i].msg_hdr.msg_iov = &vectors[i];
        heads[i].msg_hdr.msg_iovlen = 1;
    }
    for (;;) {
        int got = recvmmsg(sockets[which], heads, BATCH, MSG_DONTWAIT, NULL);
        if (got <= 0) return;
        uint32_t at = now();
        for (int i = 0; i < got; i++) {
            size_t n = heads[i].msg_len;
            if (n < 12) continue;
            uint8_t *m = room[i];
            waiting *w = &table[which][m[0] << 8 | m[1]];
            if (w->index == NOBODY) continue;
            uint8_t flags = (m[3] & 15) | (m[2] & 2 ? 0x10 : 0) | (m[6] | m[7] ? 0x20 : 0);
            put(w->sent, at - w->sent, w->index, flags, which, serial_of(m, n));
            w->index = NOBODY;
            outstanding[which]--;
        }
        if (got < BATCH) return;
    }
}

int main(int argc, char **argv) {
    if (argc != 11) { fputs("sender HOST PORT SOURCE SECONDS RATE COUNT SOCKETS SEED QUERIES OUTPUT\n", stderr); return 2; }
    double seconds = atof(argv[4]), rate = atof(argv[5]);
    long count = atol(argv[6]), sent = 0;
    int many = atoi(argv[7]);
    uint64_t seed = strtoull(argv[8], NULL, 10);
    static uint8_t queries[1 << 24];
    static size_t starts[NOBODY], sizes[NOBODY];
    FILE *file = fopen(argv[9], "rb");
    if (!file) fail(argv[9]);
    size_t size = fread(queries, 1, sizeof queries, file), known = 0;
    fclose(file);
    for (size_t at = 0; at + 2 < size && known < NOBODY; known++) {
        sizes[known] = queries[at] << 8 | queries[at + 1];
        starts[known] = at + 2;
        at += 2 + sizes[known];
        if (at > size || sizes[known] > MAX_BYTES || sizes[known] < 12) { fputs("bad queries\n", stderr); return 2; }
    }
    if (!known || many < 1 || many > MAX_SOCKETS || seconds > 3600) { fputs("bad arguments\n", stderr); return 2; }
    output = fopen(argv[10], "wb");
    if (!output) fail(argv[10]);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    struct sockaddr_in from = {.sin_family = AF_INET};
    if (!inet_aton(argv[1], &to.sin_addr) || !inet_aton(argv[3], &from.sin_addr)) return 2;
    for (int s = 0; s < many; s++) {
        int room = 4 << 20;
        sockets[s] = socket(AF_INET, SOCK_DGRAM, 0);
        if (sockets[s] < 0) fail("socket");
        setsockopt(sockets[s], SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
        if (bind(sockets[s], (struct sockaddr *)&from, sizeof from)) fail("bind");
        if (connect(sockets[s], (struct sockaddr *)&to, sizeof to)) fail("connect");
        table[s] = calloc(IDS, sizeof(waiting));
        for (int i = 0; i < IDS; i++) table[s][i].index = NOBODY;
    }
    static uint8_t room[BATCH][MAX_BYTES];
    struct iovec vectors[BATCH];
    struct mmsghdr heads[BATCH];
    memset(heads, 0, sizeof heads);
    for (int i = 0; i < BATCH; i++) {
        heads[i].msg_hdr.msg_iov = &vectors[i];
        heads[i].msg_hdr.msg_iovlen = 1;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    uint32_t last = (uint32_t)(seconds * 1e6), quiet_from = 0;
    size_t index = 0;
    int turn = 0;
    for (;;) {
        uint32_t at = now();
        int sending = at < last && sent < count;
        if (!sending) {
            long left = 0;
            for (int s = 0; s < many; s++) left += outstanding[s];
            if (!quiet_from) quiet_from = at;
            if (!left || at - quiet_from > 1000000) break;
        }
        long due = 0;
        if (sending) {
            due = rate > 0 ? (long)(at / 1e6 * rate) - sent : WINDOW - outstanding[turn];
            if (due > BATCH) due = BATCH;
            if (due > count - sent) due = count - sent;
        }
        for (long i = 0; i < due; i++) {
            memcpy(room[i], queries + starts[index], sizes[index]);
            uint16_t id = next_id[turn]++;
            room[i][0] = id >> 8;
            room[i][1] = id & 255;
            for (int k = 0; seed && k < room[i][12]; k++) {
                seed ^= seed << 13; seed ^= seed >> 7; seed ^= seed << 17;
                room[i][13 + k] = 'a' + seed % 26;
            }
            waiting *w = &table[turn][id];
            if (w->index != NOBODY) {
                put(w->sent, UINT32_MAX, w->index, 0x40, turn, 0);
                outstanding[turn]--;
            }
            *w = (waiting){at, (uint16_t)index};
            outstanding[turn]++;
            vectors[i] = (struct iovec){room[i], sizes[index]};
            index = (index + 1) % known;
        }
        for (long done = 0; done < due;) {
            int got = sendmmsg(sockets[turn], heads + done, due - done, 0);
            if (got < 0 && errno != EINTR && errno != ECONNREFUSED) fail("sendmmsg");
            if (got > 0) done += got;
        }
        sent += due > 0 ? due : 0;
        for (int s = 0; s < many; s++) receive(s);
        turn = (turn + 1) % many;
        if (due < BATCH / 2) {
            struct pollfd ready[MAX_SOCKETS];
            for (int s = 0; s < many; s++) ready[s] = (struct pollfd){sockets[s], POLLIN, 0};
            struct timespec pause = {0, rate > 0 ? 200000 : 1000000};
            ppoll(ready, many, &pause, NULL);
        }
    }
    for (int s = 0; s < many; s++)
        for (int i = 0; i < IDS; i++)
            if (table[s][i].index != NOBODY) put(table[s][i].sent, UINT32_MAX, table[s][i].index, 0x40, s, 0);
    fclose(output);
    return 0;
}
