/* The search through the worlds, as machine code: see testing/raftline_testing/explore/compiled.py, which builds and
   drives it. It knows numbers alone. What a number means, and what follows from it, is asked of
   Python once and kept: run() returns NEED, answer() gives what was asked for, run() goes on.

   A world is 128 bits: a budget, a history, and for each server the number of a pair: the server
   without its inbox, and its inbox. The table of worlds that were seen holds them as they are, so
   none is taken for another one. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef unsigned __int128 wide;
typedef uint32_t u32;
typedef uint64_t u64;

enum { MOST_SERVERS = 5, MOST_RENAMINGS = 24, BUDGET_BITS = 10, HISTORY_BITS = 14, CONTEXT_BITS = 24 };
enum { DONE, PAUSED, NEED, NO_MEMORY, NO_NUMBERS };           /* what run() returns */
enum { CLASS = 1, OWN, DELIVER, IS_VOID, JUDGE,               /* what it needs, and keeps */
       SPENT, EFFECT, SAME, PASSED, ROUNDLESS,                /* at the end of a world */
       RELAYED, DEPOSED, TWICE, ONCE,                         /* there, too */
       RENAMED, MESSAGE, PAST,                                /* under other names */
       PAIR, INBOX, WITHOUT, WITH, ADD, TURNED };             /* what it finds by itself */
enum { FACT_BITS = 16, EVENT_BITS = 15, LISTS_MOST = 1 << 25 };
enum { DEPTH, BREADTH, RANDOM };
enum { PARTS = 256, PART_ROOM = 256 };
#define SEEN_MARK ((wide)1 << 127)                            /* an empty slot is 0 */
#define NONE UINT64_MAX

struct vector { u32 *at; u64 count, room; };
enum { RECENT_MASK = (1 << 14) - 1 };
struct recent { wide key; u64 value; };
struct map { wide *keys; u32 *values; u64 count, mask; struct recent *recent; };
struct part { wide *at; u64 count, room; };                   /* of the worlds that were seen */
struct place { struct vector bares, inboxes, facts, traits, waits; };  /* by pair, … by bare, … */

struct search {
    int servers, order, is_reduced, bits, failed;
    u64 chance;
    struct place places[MOST_SERVERS];
    struct vector before, last;                               /* of inboxes: a trie */
    struct vector moves;                                      /* lists, one after the other */
    struct vector spent, messages;                            /* by budget; traits by message */
    struct map known;
    struct vector lists;                                      /* moves of a server with its inbox */
    struct map listed;                                        /* where; both are cleared when full */
    wide *found;                                              /* worlds after the current one */
    u32 *orbits;                                              /* how many each stands for */
    u64 found_count, found_room;
    struct part seen[PARTS];
    u64 seen_count, orbit_count, steps;
    int renamings;                                            /* of the servers; the first is none */
    int renamed[MOST_RENAMINGS][MOST_SERVERS];                /* the new place of each place */
    struct vector pairs[MOST_RENAMINGS][MOST_SERVERS];        /* their new numbers and 1; 0 not known */
    wide *waiting;
    struct vector parents;                                    /* by place in waiting, if BREADTH */
    u64 head, tail, room;
    wide current;
    u64 current_place;
    u64 need[MOST_SERVERS + 5];                               /* its kind, then what it is about */
    wide need_key;
};

/* --- tables ------------------------------------------------------------------------------ */

static u64 mixed(wide key)
{
    u64 x = (u64)key * 0x9e3779b97f4a7c15u ^ (u64)(key >> 64) * 0xc2b2ae3d27d4eb4fu;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    return x ^ x >> 32;
}

static int push(struct search *s, struct vector *v, u32 value)
{
    if (v->count == v->room) {
        u64 room = v->room ? 2 * v->room : 1024;
        u32 *at = realloc(v->at, room * sizeof *at);
        if (!at) { s->failed = NO_MEMORY; return 0; }
        v->at = at;
        v->room = room;
    }
    v->at[v->count++] = value;
    return 1;
}

static u64 slot_of(const struct map *m, wide key, u64 hash)
{
    u64 slot = hash & m->mask;
    while (m->keys[slot] && m->keys[slot] != key) slot = (slot + 1) & m->mask;
    return slot;
}

static wide key_of(int kind, int place, u64 a, u64 b, u64 c)
{
    return (wide)kind << 123 | (wide)place << 120 | (wide)a << 80 | (wide)b << 40 | c;
}

/* What was found lately is found at once: a map is far larger than the processor's caches. */
static u64 find_in(struct map *m, wide key)
{
    u64 hash = mixed(key), slot;
    struct recent *r = &m->recent[hash >> 32 & RECENT_MASK];
    if (r->key == key) return r->value;
    slot = slot_of(m, key, hash);
    if (!m->keys[slot]) return NONE;
    r->key = key;
    return r->value = m->values[slot];
}

static u64 find(struct search *s, wide key) { return find_in(&s->known, key); }

static void keep_in(struct search *s, struct map *m, wide key, u32 value)
{
    if (m->count + m->count / 2 >= m->mask) {
        struct map more = {.recent = m->recent};
        more.mask = 2 * (m->mask + 1) - 1;
        more.keys = calloc(more.mask + 1, sizeof *more.keys);
        more.values = malloc((more.mask + 1) * sizeof *more.values);
        if (!more.keys || !more.values) { free(more.keys); free(more.values); s->failed = NO_MEMORY; return; }
        for (u64 each = 0; each <= m->mask; each++) {
            if (!m->keys[each]) continue;
            u64 slot = slot_of(&more, m->keys[each], mixed(m->keys[each]));
            more.keys[slot] = m->keys[each];
            more.values[slot] = m->values[each];
        }
        more.count = m->count;
        free(m->keys);
        free(m->values);
        *m = more;
    }
    u64 slot = slot_of(m, key, mixed(key));
    m->keys[slot] = key;
    m->values[slot] = value;
    m->count++;
}

static void keep(struct search *s, wide key, u32 value) { keep_in(s, &s->known, key, value); }

/* The worlds that were seen are in parts, by the low bits of their hashes. A part grows by a fourth,
   apart from the others, so that little memory is empty, or there twice. */
static struct part *part_of(struct search *s, u64 hash) { return &s->seen[hash % PARTS]; }
static u64 home_in(const struct part *p, u64 hash) { return (wide)hash * p->room >> 64; }

static wide *part_made(u64 room)
{
    wide *at = mmap(NULL, room * sizeof *at, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static int grow(struct part *p)
{
    struct part more = {NULL, p->count, p->room + p->room / 4};
    more.at = part_made(more.room);
    if (!more.at) return 0;
    for (u64 each = 0; each < p->room; each++) {
        if (!p->at[each]) continue;
        u64 slot = home_in(&more, mixed(p->at[each]));
        while (more.at[slot]) slot = slot + 1 == more.room ? 0 : slot + 1;
        more.at[slot] = p->at[each];
    }
    munmap(p->at, p->room * sizeof *p->at);
    *p = more;
    return 1;
}

/* Whether a world is new. */
static int see(struct search *s, wide world)
{
    u64 hash = mixed(world);
    struct part *p = part_of(s, hash);
    if (p->count >= p->room / 5 * 4 && !grow(p)) { s->failed = NO_MEMORY; return 0; }
    u64 slot = home_in(p, hash);
    while (p->at[slot]) {
        if (p->at[slot] == world) return 0;
        slot = slot + 1 == p->room ? 0 : slot + 1;
    }
    p->at[slot] = world;
    p->count++;
    s->seen_count++;
    return 1;
}

static void put_off(struct search *s, wide world)
{
    if (s->tail == s->room) {
        u64 room = 2 * s->room;
        wide *more = realloc(s->waiting, room * sizeof *more);
        if (!more) { s->failed = NO_MEMORY; return; }
        s->waiting = more;
        s->room = room;
    }
    s->waiting[s->tail++] = world;
    if (s->order == BREADTH) push(s, &s->parents, (u32)s->current_place);
}

/* --- what Python knows ------------------------------------------------------------------- */

static u64 known_or_asked(struct search *s, int kind, int place, u64 a, u64 b, u64 c)
{
    wide key = key_of(kind, place, a, b, c);
    u64 value = find(s, key);
    if (value == NONE) {
        u64 need[] = {kind, place, a, b, c};
        memcpy(s->need, need, sizeof need);
        s->need_key = key;
    }
    return value;
}

/* --- inboxes and pairs ------------------------------------------------------------------- */

/* An inbox with one more message, which comes last; 0 is the empty one. */
static u32 longer(struct search *s, u32 inbox, u32 message)
{
    wide key = key_of(INBOX, 0, 0, inbox, message);
    u64 value = find(s, key);
    if (value != NONE) return value;
    push(s, &s->before, inbox);
    push(s, &s->last, message);
    keep(s, key, s->before.count - 1);
    return s->before.count - 1;
}

/* An inbox with the messages of another one. */
static u32 merged(struct search *s, u32 one, u32 other)
{
    if (!one || !other) return one | other;
    wide key = key_of(WITH, 0, 0, one, other);
    u64 value = find(s, key);
    if (value != NONE) return value;
    u32 x = s->last.at[one], y = s->last.at[other];
    u32 rest = x > y ? merged(s, s->before.at[one], other) : merged(s, one, s->before.at[other]);
    value = longer(s, rest, x > y ? x : y);
    keep(s, key, value);
    return value;
}

static u32 without(struct search *s, u32 inbox, u32 message)
{
    if (s->last.at[inbox] == message) return s->before.at[inbox];
    wide key = key_of(WITHOUT, 0, 0, inbox, message);
    u64 value = find(s, key);
    if (value != NONE) return value;
    value = longer(s, without(s, s->before.at[inbox], message), s->last.at[inbox]);
    keep(s, key, value);
    return value;
}

/* The messages of an inbox that may matter yet; NONE if Python must say. */
static u64 valid(struct search *s, int place, u32 bare, u32 inbox)
{
    if (!inbox) return 0;
    u64 rest = valid(s, place, bare, s->before.at[inbox]);
    if (rest == NONE) return NONE;
    u64 is_void = known_or_asked(s, IS_VOID, place, 0, bare, s->last.at[inbox]);
    if (is_void == NONE) return NONE;
    return is_void ? rest : longer(s, rest, s->last.at[inbox]);
}

/* The number of a server and its inbox; NONE if Python must say what of that matters. */
static u64 paired(struct search *s, int place, u32 bare, u32 inbox)
{
    wide key = key_of(PAIR, place, 0, bare, inbox);
    u64 value = find(s, key);
    if (value != NONE) return value;
    if (s->is_reduced) {
        u64 kept = valid(s, place, bare, inbox);
        if (kept == NONE) return NONE;
        if (kept != inbox) {
            value = paired(s, place, bare, kept);
            if (value != NONE) keep(s, key, value);
            return value;
        }
    }
    struct place *p = &s->places[place];
    if (p->bares.count >> s->bits) { s->failed = NO_NUMBERS; return NONE; }
    push(s, &p->bares, bare);
    push(s, &p->inboxes, inbox);
    keep(s, key, p->bares.count - 1);
    return p->bares.count - 1;
}

/* --- steps ------------------------------------------------------------------------------- */

static u32 number_in(const struct search *s, wide world, int place)
{
    return (world >> (CONTEXT_BITS + place * s->bits)) & (((wide)1 << s->bits) - 1);
}

static wide exchanged(const struct search *s, wide world, int place, u64 from, u64 to)
{
    int shift = CONTEXT_BITS + place * s->bits;
    return world - ((wide)from << shift) + ((wide)to << shift);
}

/* The history once an event is in it; NONE if Python must judge. */
static u64 judged(struct search *s, wide world, u32 event)
{
    wide key = (wide)JUDGE << 123 | (wide)event << 24 | (world & ((1 << CONTEXT_BITS) - 1));
    for (int place = 0; place < s->servers; place++) {
        struct place *p = &s->places[place];
        u32 fact = p->facts.at[p->bares.at[number_in(s, world, place)]];
        if (fact >> FACT_BITS || event >> EVENT_BITS) s->failed = NO_NUMBERS;
        key |= (wide)fact << (24 + EVENT_BITS + place * FACT_BITS);
    }
    u64 value = find(s, key);
    if (value == NONE) {
        u64 need[] = {JUDGE, 0, world & ((1 << CONTEXT_BITS) - 1), event, 0};
        memcpy(s->need, need, sizeof need);
        s->need_key = key;
        for (int place = 0; place < s->servers; place++)
            s->need[5 + place] = s->places[place].bares.at[number_in(s, world, place)];
    }
    return value;
}

/* Put moves of one server into the list that is being made. Each is there: the server, the budget,
   the event, whether the message is gone, and for each receiver its place and what it gets. In the
   list it is: the server's new number, the rest as it was. Return 0 if Python must say something. */
static int list_some(struct search *s, int place, u32 number, u32 budget, u64 at, u32 message)
{
    u32 inbox = s->places[place].inboxes.at[number], count = s->moves.at[at++];
    while (count--) {
        const u32 *move = s->moves.at + at;
        u32 sends = move[4];
        at += 5 + 2 * sends;
        u64 to = paired(s, place, move[0], move[3] ? without(s, inbox, message) : inbox);
        if (to == NONE) return 0;
        if (to == number && move[1] == budget && !sends && !move[2]) continue;
        push(s, &s->lists, to), push(s, &s->lists, move[1]), push(s, &s->lists, move[2]);
        push(s, &s->lists, sends);
        for (u32 each = 0; each < 2 * sends; each++) push(s, &s->lists, move[5 + each]);
    }
    return 1;
}

/* Where the list of a server's moves begins, which is its end first; NONE if Python must say
   something first. */
static u64 listed(struct search *s, int place, u32 class, u32 number, u32 budget)
{
    wide key = key_of(OWN, place, 0, class, number);
    u64 list = find_in(&s->listed, key);
    if (list != NONE) return list;
    if (s->lists.count > LISTS_MOST) {
        memset(s->listed.keys, 0, (s->listed.mask + 1) * sizeof *s->listed.keys);
        memset(s->listed.recent, 0, (RECENT_MASK + 1) * sizeof *s->listed.recent);
        s->lists.count = s->listed.count = 0;
    }
    list = s->lists.count;
    push(s, &s->lists, 0);
    u32 bare = s->places[place].bares.at[number], inbox = s->places[place].inboxes.at[number];
    u64 some = known_or_asked(s, OWN, place, class, bare, 0);
    int is_known = some != NONE && list_some(s, place, number, budget, some, 0);
    for (u32 done = UINT32_MAX; is_known && inbox; inbox = s->before.at[inbox]) {
        u32 message = s->last.at[inbox];
        if (message == done) continue;
        done = message;
        some = known_or_asked(s, DELIVER, place, budget, bare, message);
        is_known = some != NONE && list_some(s, place, number, budget, some, message);
    }
    if (!is_known) {
        s->lists.count = list;
        return NONE;
    }
    s->lists.at[list] = s->lists.count;
    keep_in(s, &s->listed, key, list);
    return list;
}

/* A server with more messages in its inbox; NONE if Python must say something first. */
static u64 added(struct search *s, int place, u32 number, u32 group)
{
    wide key = key_of(ADD, place, 0, number, group);
    u64 value = find(s, key);
    if (value != NONE) return value;
    struct place *p = &s->places[place];
    value = paired(s, place, p->bares.at[number], merged(s, p->inboxes.at[number], group));
    if (value != NONE) keep(s, key, value);
    return value;
}

/* --- once the budget is spent ---------------------------------------------------------------

   What is left are deliveries and writes. A message that changes nothing, now or later, is taken
   off its way: see testing.md, "Every order". */

enum { FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER };
enum { OTHER, ACCEPTED, REJECTED, DENIED, VOTED, READ_INDEX, READ_REPLY, APPEND, VOTE, PRE_VOTE };

static u32 trait(const struct search *s, wide world, int place)
{
    const struct place *p = &s->places[place];
    return p->traits.at[p->bares.at[number_in(s, world, place)]];
}

static u32 term_of(u32 trait) { return trait & 63; }
static u32 role_of(u32 trait) { return trait >> 6 & 3; }
static u32 vote_of(u32 trait) { return trait >> 8 & 7; }      /* a place and 1; 0 is none */
static u32 complains(u32 trait) { return trait >> 11 & 1; }   /* once a write is done */
static u32 hears(u32 trait) { return trait >> 12 & 1; }       /* the leader of its term */
static u32 reads(u32 trait) { return trait >> 13 & 1; }       /* may open a round yet */
static u32 log_of(u32 trait) { return trait >> 14; }
static u32 kind_of(u32 message) { return message & 15; }
static u32 sender_of(u32 message) { return message >> 4 & 7; }
static u32 receiver_of(u32 message) { return message >> 7 & 7; }
static u32 message_term(u32 message) { return message >> 10; }

/* What a message does at a server: 0 nothing, NONE Python must say, 1 something, else the number of
   the one message that it sends back and 2, while it changes nothing. */
static u64 effect(struct search *s, int place, u32 bare, u32 budget, u32 message)
{
    return known_or_asked(s, EFFECT, place, budget, bare, message);
}

/* Whether the answers of a follower that say what it holds will never again change its leader,
   once one changes nothing: no complaint sets the leader back before it comes. NONE if Python must
   say. */
static u64 is_settled(struct search *s, wide world, int leader, int follower, u32 budget)
{
    u32 one = trait(s, world, leader), other = trait(s, world, follower);
    u32 number = number_in(s, world, leader), bare = s->places[leader].bares.at[number];
    if (role_of(one) != LEADER) return 1;
    if (complains(other) || term_of(other) < term_of(one)) return 0;
    if (term_of(other) == term_of(one) && log_of(other) != log_of(one)) return 0;
    for (u32 inbox = s->places[leader].inboxes.at[number]; inbox; inbox = s->before.at[inbox]) {
        u32 message = s->messages.at[s->last.at[inbox]];
        if (kind_of(message) != REJECTED || sender_of(message) != (u32)follower) continue;
        if (message_term(message) > term_of(one)) continue;   /* then it leads no longer */
        u64 does = effect(s, leader, bare, budget, s->last.at[inbox]);
        if (does) return does == NONE ? NONE : 0;
    }
    return 1;
}

/* Whether a message will never again change anything; NONE if Python must say. `top`: no server
   comes to a later term. */
static u64 is_over(struct search *s, wide world, int place, u32 number, u32 budget, u32 top)
{
    u32 message = s->messages.at[number], kind = kind_of(message), at = message_term(message);
    u32 own = trait(s, world, place), bare = s->places[place].bares.at[number_in(s, world, place)];
    int from = sender_of(message);
    u32 sender = trait(s, world, from);
    if (kind == OTHER) return 0;
    u64 does = effect(s, place, bare, budget, number);
    if (does == NONE || does == 1) return does == NONE ? NONE : 0;
    if (!does) {
        if (kind == ACCEPTED) return at < term_of(own) ? 1 : is_settled(s, world, place, from, budget);
        if (kind == READ_INDEX) return at < term_of(own);
        return kind == REJECTED || kind == DENIED || kind == VOTED || kind == READ_REPLY;
    }
    if (top > term_of(sender)) return 0;
    if (kind == PRE_VOTE) return role_of(sender) != PRE_CANDIDATE;
    if (at < term_of(own)) return kind == APPEND || kind == VOTE;
    if (kind == VOTE)
        return at == term_of(own)
               && (hears(own) || (vote_of(own) && vote_of(own) != (u32)from + 1));
    if (kind != APPEND || top > at || kind_of(s->messages.at[does - 2]) != ACCEPTED) return 0;
    u32 at_sender = s->places[from].bares.at[number_in(s, world, from)];
    u64 then = effect(s, from, at_sender, budget, does - 2);
    return then ? (then == NONE ? NONE : 0) : is_settled(s, world, from, place, budget);
}

/* A world in which a server is another one; 0 if Python must say something first. */
static wide with_bare(struct search *s, wide world, int place, u64 bare)
{
    u32 number = number_in(s, world, place);
    if (bare == NONE || bare == s->places[place].bares.at[number]) return bare == NONE ? 0 : world;
    u64 pair = paired(s, place, bare, s->places[place].inboxes.at[number]);
    return pair == NONE ? 0 : exchanged(s, world, place, number, pair);
}

/* Whether nobody waits for a read, so that no answer to a round matters. */
static int is_read(const struct search *s, wide world)
{
    for (int place = 0; place < s->servers; place++) {
        if (reads(trait(s, world, place))) return 0;
        u32 inbox = s->places[place].inboxes.at[number_in(s, world, place)];
        for (; inbox; inbox = s->before.at[inbox])
            if (kind_of(s->messages.at[s->last.at[inbox]]) == READ_INDEX) return 0;
    }
    return 1;
}

/* Whether a server stands for no election, and never will. */
static int is_settled_down(u32 trait) { return role_of(trait) == FOLLOWER || role_of(trait) == LEADER; }

/* The number of the answer to a message that gets this one whenever it comes, while the receiver
   stays as it is; 0 there is none such, NONE Python must say. */
static u64 sure_answer(struct search *s, wide world, int place, u32 number, u32 budget, u32 top)
{
    u32 message = s->messages.at[number], kind = kind_of(message), at = message_term(message);
    u32 own = trait(s, world, place), sender = trait(s, world, sender_of(message));
    if ((kind != APPEND && kind != VOTE) || top > term_of(own)) return 0;
    int is_late = at < top && term_of(sender) < top && is_settled_down(sender);
    if (!is_late && (at != top || kind != APPEND)) return 0;
    u32 bare = s->places[place].bares.at[number_in(s, world, place)];
    u64 does = effect(s, place, bare, budget, number);
    if (does == NONE || does < 2) return does == NONE ? NONE : 0;
    u32 answer = kind_of(s->messages.at[does - 2]);
    if (is_late ? answer != REJECTED && answer != DENIED : answer != ACCEPTED) return 0;
    return does - 2;
}

/* A world in which a message was answered that changes nothing else; 0 if Python must say. */
static wide relayed(struct search *s, wide world, int place, u32 number, u32 budget, u32 answer)
{
    u32 pair = number_in(s, world, place), bare = s->places[place].bares.at[pair];
    int to = sender_of(s->messages.at[number]);
    u64 after = known_or_asked(s, RELAYED, place, budget, bare, number);
    if (after == NONE) return 0;
    u64 rest = paired(s, place, after, without(s, s->places[place].inboxes.at[pair], number));
    if (rest == NONE) return 0;
    world = exchanged(s, world, place, pair, rest);
    if (after != bare) return world;                           /* it leaves after a write */
    pair = number_in(s, world, to);
    u64 more = added(s, to, pair, longer(s, 0, answer));
    return more == NONE ? 0 : exchanged(s, world, to, pair, more);
}

/* A world in which all is answered that has a sure answer; 0 if Python must say. */
static wide answered(struct search *s, wide world, u32 budget, u32 top)
{
    for (int place = 0; place < s->servers; place++) {
        u32 inbox = s->places[place].inboxes.at[number_in(s, world, place)];
        for (; inbox; inbox = s->before.at[inbox]) {
            u64 answer = sure_answer(s, world, place, s->last.at[inbox], budget, top);
            if (answer == NONE) return 0;
            if (!answer) continue;
            world = relayed(s, world, place, s->last.at[inbox], budget, answer);
            if (!world) return 0;
        }
    }
    return world;
}

/* Whether a message that is on its way to a server twice makes no other difference than one. */
static u64 is_enough(struct search *s, wide world, int place, u32 number, u32 budget)
{
    u32 message = s->messages.at[number], own = trait(s, world, place);
    if (kind_of(message) == REJECTED) return message_term(message) > term_of(own) && is_settled_down(own);
    if (kind_of(message) != ACCEPTED) return 0;
    u64 settled = is_settled(s, world, place, sender_of(message), budget);
    if (settled == NONE || !settled) return settled;
    u32 bare = s->places[place].bares.at[number_in(s, world, place)];
    return known_or_asked(s, TWICE, place, budget, bare, number);
}

static int has(const struct search *s, u32 inbox, u32 message)
{
    for (; inbox; inbox = s->before.at[inbox])
        if (s->last.at[inbox] == message) return 1;
    return 0;
}

/* A world without the messages of a server that wait for its disk and are over by then. */
static wide without_waits(struct search *s, wide world, int place, u32 budget, u32 top, int all_read)
{
    u32 bare = s->places[place].bares.at[number_in(s, world, place)];
    for (u32 waits = s->places[place].waits.at[bare]; waits; waits = s->before.at[waits]) {
        u32 number = s->last.at[waits], message = s->messages.at[number];
        if (kind_of(message) < ACCEPTED || kind_of(message) > DENIED) continue;
        int to = receiver_of(message);
        u64 over = is_over(s, world, to, number, budget, top), enough = 0;
        if (!over) enough = is_enough(s, world, to, number, budget);
        if (over == NONE || enough == NONE) return 0;
        bare = s->places[place].bares.at[number_in(s, world, place)];
        if (enough && !has(s, s->places[to].inboxes.at[number_in(s, world, to)], number)) {
            world = with_bare(s, world, place, known_or_asked(s, ONCE, place, number, bare, 0));
            if (!world) return 0;
        }
        else over |= enough;
        if (!over) continue;
        world = with_bare(s, world, place, known_or_asked(s, PASSED, place, number, bare, 0));
        if (!world) return 0;
    }
    bare = s->places[place].bares.at[number_in(s, world, place)];
    if (!all_read || !s->places[place].waits.at[bare]) return world;
    return with_bare(s, world, place, known_or_asked(s, ROUNDLESS, place, 0, bare, 0));
}

/* A world whose budget is spent, without the messages that are over; 0 if Python must say. */
static wide ended(struct search *s, wide world, int is_new)
{
    u32 budget = world & ((1 << BUDGET_BITS) - 1), top = 0;
    for (int place = 0; place < s->servers && is_new; place++) {
        u32 bare = s->places[place].bares.at[number_in(s, world, place)];
        world = with_bare(s, world, place, known_or_asked(s, SPENT, place, budget, bare, 0));
        if (!world) return 0;
    }
    for (int place = 0; place < s->servers; place++) {
        u32 one = trait(s, world, place), most = term_of(one) + (role_of(one) == PRE_CANDIDATE);
        top = most > top ? most : top;
    }
    int all_read = is_read(s, world);
    world = answered(s, world, budget, top);
    if (!world) return 0;
    for (int place = 0; place < s->servers; place++) {
        world = without_waits(s, world, place, budget, top, all_read);
        if (!world) return 0;
    }
    for (int place = 0; place < s->servers; place++) {
        u32 number = number_in(s, world, place), kept[256], count = 0, from = 0;
        u32 bare = s->places[place].bares.at[number], own = trait(s, world, place);
        for (u32 inbox = s->places[place].inboxes.at[number]; inbox; inbox = s->before.at[inbox]) {
            u64 each = s->last.at[inbox], over = is_over(s, world, place, each, budget, top), at = 0;
            u32 kind = kind_of(s->messages.at[each]);
            if (!over && all_read && (kind == ACCEPTED || kind == APPEND))
                each = known_or_asked(s, SAME, place, 0, bare, each);
            if (!over && (kind == REJECTED || kind == DENIED) && is_settled_down(own)
                && message_term(s->messages.at[each]) > term_of(own))
                each = known_or_asked(s, DEPOSED, place, budget, bare, each);
            if (over == NONE || each == NONE) return 0;
            if (count == 256) { s->failed = NO_NUMBERS; return 0; }
            while (at < count && kept[at] != each) at++;
            if (!over && at < count) over = is_enough(s, world, place, each, budget);
            if (over == NONE) return 0;
            if (over) continue;
            for (at = count++; at && kept[at - 1] < each; at--) kept[at] = kept[at - 1];
            kept[at] = each;
        }
        while (count) from = longer(s, from, kept[--count]);
        if (from == s->places[place].inboxes.at[number]) continue;
        u64 pair = paired(s, place, bare, from);
        if (pair == NONE) return 0;
        world = exchanged(s, world, place, number, pair);
    }
    return world;
}

/* --- under other names ---------------------------------------------------------------------

   Servers but the first may change their names: what follows is the same under the new ones. Of all
   worlds that differ by that alone the one of the least number is searched. compiled.py has each
   step taken under all names, and compares them. */

static u64 turned_inbox(struct search *s, int renaming, u32 inbox)
{
    if (!inbox) return 0;
    wide key = key_of(TURNED, 0, renaming, inbox, 0);
    u64 value = find(s, key);
    if (value != NONE) return value;
    u64 rest = turned_inbox(s, renaming, s->before.at[inbox]);
    if (rest == NONE) return NONE;
    u64 message = known_or_asked(s, MESSAGE, 0, renaming, 0, s->last.at[inbox]);
    if (message == NONE) return NONE;
    value = merged(s, rest, longer(s, 0, message));
    keep(s, key, value);
    return value;
}

static u64 turned(struct search *s, int renaming, int place, u32 number)
{
    struct vector *known = &s->pairs[renaming][place];
    if (number < known->count && known->at[number]) return known->at[number] - 1;
    u32 bare = s->places[place].bares.at[number], inbox = s->places[place].inboxes.at[number];
    u64 other = known_or_asked(s, RENAMED, place, renaming, bare, 0);
    if (other == NONE) return NONE;
    u64 messages = turned_inbox(s, renaming, inbox);
    if (messages == NONE) return NONE;
    u64 value = paired(s, s->renamed[renaming][place], other, messages);
    if (value == NONE) return NONE;
    while (known->count <= number && !s->failed) push(s, known, 0);
    if (!s->failed) known->at[number] = value + 1;
    return value;
}

/* Of all worlds that differ from this one by names alone the one that is searched, and how many
   they are; 0 if Python must say something first. */
static wide least(struct search *s, wide world, u32 *orbit)
{
    wide found = world, budget = world & ((1 << BUDGET_BITS) - 1);
    u32 history = (u32)(world >> BUDGET_BITS) & ((1 << HISTORY_BITS) - 1), same = 1;
    for (int renaming = 1; renaming < s->renamings; renaming++) {
        u64 past = known_or_asked(s, PAST, 0, renaming, 0, history);
        if (past == NONE) return 0;
        wide other = SEEN_MARK | (wide)past << BUDGET_BITS | budget;
        for (int place = 0; place < s->servers; place++) {
            u64 number = turned(s, renaming, place, number_in(s, world, place));
            if (number == NONE) return 0;
            other |= (wide)number << (CONTEXT_BITS + s->renamed[renaming][place] * s->bits);
        }
        same += other == world;
        found = other < found ? other : found;
    }
    *orbit = s->renamings / same;
    return found;
}

static void note(struct search *s, wide world, u32 orbit)
{
    if (s->found_count == s->found_room) {
        u64 room = 2 * s->found_room;
        wide *more = realloc(s->found, room * sizeof *more);
        u32 *orbits = more ? realloc(s->orbits, room * sizeof *orbits) : NULL;
        s->found = more ? more : s->found;
        if (!orbits) { s->failed = NO_MEMORY; return; }
        s->orbits = orbits;
        s->found_room = room;
    }
    s->found[s->found_count] = world;
    s->orbits[s->found_count++] = orbit;
    u64 hash = mixed(world);
    const struct part *p = part_of(s, hash);
    __builtin_prefetch(p->at + home_in(p, hash));
}

/* Take the moves of a list. Return 0 if Python must say something first. */
static int take(struct search *s, int place, u32 number, u32 budget, u64 list)
{
    for (u64 end = s->lists.at[list++]; list < end;) {
        const u32 *move = s->lists.at + list;
        u32 sends = move[3];
        list += 4 + 2 * sends;
        wide after = exchanged(s, s->current, place, number, move[0]) - budget + move[1];
        for (u32 each = 0; each < sends; each++) {
            int receiver = move[4 + 2 * each];
            u32 old = number_in(s, after, receiver);
            u64 new = added(s, receiver, old, move[5 + 2 * each]);
            if (new == NONE) return 0;
            after = exchanged(s, after, receiver, old, new);
        }
        if (move[2]) {
            u64 history = judged(s, after, move[2]);
            if (history == NONE) return 0;
            wide mask = (wide)((1 << HISTORY_BITS) - 1) << BUDGET_BITS;
            after = (after & ~mask) | (wide)history << BUDGET_BITS;
        }
        if (move[1] < s->spent.count && s->spent.at[move[1]]) {
            after = ended(s, after, move[1] != budget);
            if (!after) return 0;
        }
        u32 orbit = 1;
        after = least(s, after, &orbit);
        if (!after) return 0;
        note(s, after, orbit);
    }
    return 1;
}

/* Take all moves of the current world. Return 0 if Python must say something first. */
static int take_all(struct search *s)
{
    u32 budget = s->current & ((1 << BUDGET_BITS) - 1);
    u32 history = (u32)(s->current >> BUDGET_BITS) & ((1 << HISTORY_BITS) - 1);
    u64 class = known_or_asked(s, CLASS, 0, 0, budget, history);
    if (class == NONE) return 0;
    s->found_count = 0;
    for (int place = 0; place < s->servers; place++) {
        u32 number = number_in(s, s->current, place);
        u64 list = listed(s, place, class, number, budget);
        if (list == NONE || !take(s, place, number, budget, list)) return 0;
    }
    for (u64 each = 0; each < s->found_count; each++) {
        if (!see(s, s->found[each])) continue;
        s->orbit_count += s->orbits[each];
        put_off(s, s->found[each]);
    }
    s->steps += s->found_count;
    return 1;
}

/* --- what Python calls ------------------------------------------------------------------- */

void explore_free(struct search *s)
{
    for (int place = 0; place < MOST_SERVERS; place++) {
        struct place *p = &s->places[place];
        free(p->bares.at), free(p->inboxes.at), free(p->facts.at), free(p->traits.at), free(p->waits.at);
        for (int each = 0; each < MOST_RENAMINGS; each++) free(s->pairs[each][place].at);
    }
    for (int each = 0; each < PARTS; each++)
        if (s->seen[each].at) munmap(s->seen[each].at, s->seen[each].room * sizeof(wide));
    free(s->spent.at), free(s->messages.at);
    free(s->before.at), free(s->last.at), free(s->moves.at), free(s->parents.at);
    free(s->known.keys), free(s->known.values), free(s->known.recent);
    free(s->listed.keys), free(s->listed.values), free(s->listed.recent);
    free(s->lists.at), free(s->found), free(s->orbits), free(s->waiting), free(s);
}

static int map_made(struct map *m)
{
    m->mask = (1 << 16) - 1;
    m->keys = calloc(m->mask + 1, sizeof *m->keys);
    m->values = malloc((m->mask + 1) * sizeof *m->values);
    m->recent = calloc(RECENT_MASK + 1, sizeof *m->recent);
    return m->keys && m->values && m->recent;
}

struct search *explore_new(int servers, int order, u64 seed, int is_reduced)
{
    struct search *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->servers = servers;
    s->order = order;
    s->chance = 2 * seed + 1;
    s->is_reduced = is_reduced;
    s->bits = (127 - CONTEXT_BITS) / servers < 30 ? (127 - CONTEXT_BITS) / servers : 30;
    s->renamings = 1;
    s->room = s->found_room = 1 << 16;
    int is_made = map_made(&s->known) && map_made(&s->listed);
    for (int each = 0; each < PARTS; each++) {
        s->seen[each].room = PART_ROOM;
        s->seen[each].at = part_made(PART_ROOM);
        is_made = is_made && s->seen[each].at;
    }
    s->found = malloc(s->found_room * sizeof *s->found);
    s->orbits = malloc(s->found_room * sizeof *s->orbits);
    s->waiting = malloc(s->room * sizeof *s->waiting);
    push(s, &s->before, 0), push(s, &s->last, 0), push(s, &s->moves, 0);
    if (is_made && s->found && s->orbits && s->waiting && !s->failed) return s;
    explore_free(s);
    return NULL;
}

/* The fact of each server without its inbox, in the order of their numbers. */
void explore_fact(struct search *s, int place, u32 fact) { push(s, &s->places[place].facts, fact); }

/* The traits of each server without its inbox, and of each message, in the order of their numbers;
   and whether each budget is spent, and what is over then is left out. */
void explore_trait(struct search *s, int place, u32 trait, const u32 *waits, u32 count)
{
    u32 inbox = 0;
    push(s, &s->places[place].traits, trait);
    for (u32 each = 0; each < count; each++) inbox = longer(s, inbox, waits[each]);
    push(s, &s->places[place].waits, inbox);
}

void explore_message(struct search *s, u32 traits) { push(s, &s->messages, traits); }
void explore_spent(struct search *s, u32 is_spent) { push(s, &s->spent, is_spent); }

/* Let servers have other names: the new place of each place. */
void explore_renaming(struct search *s, const int *places)
{
    memcpy(s->renamed[s->renamings++], places, s->servers * sizeof *places);
}

/* Begin with these servers, to which nothing is on its way. */
void explore_begin(struct search *s, u32 context, const u32 *bares)
{
    wide world = SEEN_MARK | context;
    for (int place = 0; place < s->servers; place++) {
        int is_reduced = s->is_reduced;
        s->is_reduced = 0;
        world |= (wide)paired(s, place, bares[place], 0) << (CONTEXT_BITS + place * s->bits);
        s->is_reduced = is_reduced;
    }
    s->orbit_count = see(s, world);
    put_off(s, world);
}

static void pick_next(struct search *s)
{
    if (s->order == BREADTH) {
        s->current_place = s->head;
        s->current = s->waiting[s->head++];
        return;
    }
    if (s->order == RANDOM) {
        s->chance ^= s->chance << 13, s->chance ^= s->chance >> 7, s->chance ^= s->chance << 17;
        u64 place = s->chance % s->tail;
        wide other = s->waiting[place];
        s->waiting[place] = s->waiting[s->tail - 1];
        s->waiting[s->tail - 1] = other;
    }
    s->current = s->waiting[--s->tail];
}

/* Look at so many worlds, or until something is needed, or none is left. */
int explore_run(struct search *s, u64 worlds)
{
    for (;;) {
        if (!s->current) {
            if (s->head == s->tail) return DONE;
            if (!worlds--) return PAUSED;
            pick_next(s);
        }
        int is_done = take_all(s);
        if (s->failed) return s->failed;
        if (!is_done) return NEED;
        s->current = 0;
    }
}

/* What is needed: its kind, the server's place, three numbers, and the servers without inboxes. */
const u64 *explore_need(const struct search *s) { return s->need; }

void explore_answer(struct search *s, u32 value) { keep(s, s->need_key, value); }

/* Answer by a list of moves: how many; then of each what take() reads, with the number of
   messages and the messages of each group in place of its inbox. */
void explore_answer_moves(struct search *s, const u32 *at)
{
    u32 list = s->moves.count, count = *at++;
    push(s, &s->moves, count);
    while (count--) {
        u32 sends = at[4];
        for (int each = 0; each < 5; each++) push(s, &s->moves, *at++);
        while (sends--) {
            u32 inbox = 0;
            push(s, &s->moves, *at++);
            for (u32 messages = *at++; messages; messages--) inbox = longer(s, inbox, *at++);
            push(s, &s->moves, inbox);
        }
    }
    keep(s, s->need_key, list);
}

u64 explore_states(const struct search *s) { return s->seen_count; }
u64 explore_orbits(const struct search *s) { return s->orbit_count; }
u64 explore_steps(const struct search *s) { return s->steps; }
u64 explore_waiting(const struct search *s) { return s->tail - s->head; }
u64 explore_place(const struct search *s) { return s->current_place; }

/* Write the worlds of a part that were seen: budget and history, then its servers without inboxes.
   Return how many; without a place to write to, this alone. */
u64 explore_seen(const struct search *s, u32 part, u32 *to)
{
    const struct part *p = &s->seen[part];
    for (u64 slot = 0; to && slot < p->room; slot++) {
        wide world = p->at[slot];
        if (!world) continue;
        *to++ = world & ((1 << CONTEXT_BITS) - 1);
        for (int place = 0; place < s->servers; place++)
            *to++ = s->places[place].bares.at[number_in(s, world, place)];
    }
    return p->count;
}

u64 explore_parent(const struct search *s, u64 place) { return s->parents.at[place]; }

/* Write a world that waited: budget, history, then of each server its number without inbox, how
   many messages are on their way to it, and which, last first. Return 0 if that is too long. */
int explore_world(const struct search *s, u64 place, u32 *to, u32 room)
{
    wide world = s->waiting[place];
    u32 *end = to + room;
    if (room < 2) return 0;
    *to++ = world & ((1 << BUDGET_BITS) - 1);
    *to++ = (world >> BUDGET_BITS) & ((1 << HISTORY_BITS) - 1);
    for (int each = 0; each < s->servers; each++) {
        u32 number = number_in(s, world, each), inbox = s->places[each].inboxes.at[number];
        if (end - to < 2) return 0;
        *to++ = s->places[each].bares.at[number];
        u32 *count = to++;
        for (*count = 0; inbox; inbox = s->before.at[inbox], ++*count) {
            if (to == end) return 0;
            *to++ = s->last.at[inbox];
        }
    }
    return 1;
}
