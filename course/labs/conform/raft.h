/* Raft: elections with PreVote and CheckQuorum, replication, commitment, reads by a round. */
#include "store.h"
enum { ELECTION_MS = 500, SPREAD_MS = 500, HEARTBEAT_MS = 100, MEMBERS_MAX = 9, BATCH = 256 };
typedef struct Connection {
    int file, waiting;                          /* waiting: requests without an answer */
    bool is_dialed, waits_for_reads;
    Text in, out;
} Connection;
typedef struct {                                /* Figure 2, volatile state on leaders */
    Number next_index, match_index, heard_ms, acked_round, rewound_round;
    bool is_probed, probe_sent;                 /* one message at a time, until one fits */
    bool is_without_vote;                       /* page: Peers, "without vote" */
    Number life, fence, readmit_round, again_round;
} Known;
typedef struct {
    char name[NAME_SIZE], host[256], port[8];
    Connection *link;                           /* NULL: it is away */
    Number dial_at_ms;
    bool granted;                               /* its vote, or its PreVote */
    Known known;
} Peer;
typedef struct Request {
    struct Request *next;
    Connection *from;                           /* NULL: it has gone */
    char id[24], *command;
    Number index, round;
} Request;
typedef struct { Request *first, **end; } Queue;
static enum { FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER } role;
static char leader[NAME_SIZE];                  /* "": none is heard */
static Peer peers[MEMBERS_MAX];
static int peer_count;
static Number commit_index, last_applied, round_now;
static Number now_ms, election_at_ms, heard_at_ms, heartbeat_at_ms, quorum_check_at_ms;
static bool wants_round;                        /* a read waits for one, say (T6.4) */
static Queue writes = {NULL, &writes.first}, reads = {NULL, &reads.first};
#define NOT_LEADER "Sorry, I am not the leader. Last leader I heard from is: %s (%s:%s)"
#define EACH_PEER(peer) for (Peer *peer = peers; peer < peers + peer_count; peer++)
static void say(Connection *to, const char *id, const char *text) { add(&to->out, "%s%s@%s\n", me, id, text); }

static void say_leader(Text *out) {
    EACH_PEER(peer) if (!strcmp(peer->name, leader)) add(out, NOT_LEADER, peer->name, peer->host, peer->port);
    if (!out->length) add(out, "Sorry, I know of no leader. Try again.");
}

/* --- requests ------------------------------------------------------------------------------------ */
static void submit(Queue *queue, Request request) {
    if (queue == &writes) append_entry(term, request.command);
    else wants_round = true;
    request.index = last_index;                 /* a read waits for all that is in the log now */
    request.round = round_now + 1;
    *queue->end = grown(NULL, sizeof request);
    **queue->end = request;
    queue->end = &(*queue->end)->next;
}
static void answer_first(Queue *queue, const char *text) {
    Request *first = queue->first;
    if (first->from) say(first->from, first->id, text), first->from->waiting--;
    if (!(queue->first = first->next)) queue->end = &queue->first;
    free(first->command), free(first);
}

/* --- terms, votes, leaders (§5.1, §5.2) ---------------------------------------------------------- */
static void arm_election(void) { election_at_ms = now_ms + ELECTION_MS + rand() % SPREAD_MS; }
static bool is_quorum(int others) { return 2 * (others + 1) > peer_count + 1; }
static bool hears_leader(void) { return role == LEADER || (leader[0] && now_ms - heard_at_ms < ELECTION_MS); }

static void follow(Number new_term, const char *new_leader) {
    if (new_term > term) save_promise(new_term, "");
    if (role == LEADER) arm_election();
    role = FOLLOWER, strcpy(leader, new_leader);
    Text elsewhere = {0};
    say_leader(&elsewhere);
    while (writes.first) answer_first(&writes, "Sorry, outcome unknown: I lead no longer");
    while (reads.first) answer_first(&reads, elsewhere.at);
    free(elsewhere.at);
}
static void ask_for_votes(const char *word, Number asked, const char *mark) {
    Text line = {0};
    add(&line, "%s@%s %lld-%lld-%lld%s\n", me, word, asked, last_index, entries[last_index].term, mark);
    EACH_PEER(peer) {
        peer->granted = false;
        if (peer->link) add_bytes(&peer->link->out, line.at, line.length);
    }
    free(line.at);
}
static void become_leader(void) {
    role = LEADER, strcpy(leader, me);
    printf("[*] %s leads term %lld\n", me, term);
    round_now = 1, heartbeat_at_ms = now_ms, quorum_check_at_ms = now_ms + ELECTION_MS;
    EACH_PEER(peer)
        peer->known = (Known){.next_index = last_index + 1, .is_probed = true, .heard_ms = now_ms};
    append_entry(term, "noop");                 /* §8: its commit commits what earlier terms left */
}
static void stand(const char *mark) {           /* §5.2 */
    role = CANDIDATE, leader[0] = 0;
    save_promise(term + 1, me);
    arm_election();
    is_quorum(0) ? become_leader() : ask_for_votes("RequestVote", term, mark);
}
static void on_silence(void) {                  /* T9.6: no higher term before a quorum would vote */
    role = PRE_CANDIDATE, leader[0] = 0;
    arm_election();
    is_quorum(0) ? stand("") : ask_for_votes("PreVote", term + 1, "");
}
static void hear_vote(Peer *peer) {
    int votes = 0;
    peer->granted = true;
    EACH_PEER(one) votes += one->granted;
    if (is_quorum(votes)) role == PRE_CANDIDATE ? stand("") : become_leader();
}
static void hear_request_vote(const char *from, bool is_pre, Number asked, Number index, Number last_term,
                              const char *mark, Text *answer) {
    bool is_handed = !strcmp(mark, " transfer");                 /* T3.10: its leader asked it to stand */
    if (asked > term && !is_pre && (!hears_leader() || (is_handed && asked == term + 1))) follow(asked, "");
    Number mine = entries[last_index].term;
    Text why = {0};
    if (asked < term)
        add(&why, "old-term: term %lld is over, I am in term %lld", asked, term);
    else if (hears_leader() && !(is_handed && asked == term && !leader[0]))      /* T4.2.3 */
        add(&why, "hears %s: I hear from leader %s of term %lld", leader, leader, term);
    else if (!strcmp(mark, " newborn") && last_index)
        add(&why, "by-hand: the log of %s was written by hand, mine holds a cluster's entries", from);
    else if (last_term < mine || (last_term == mine && index < last_index))     /* §5.4.1 */
        add(&why, "behind: log not up to date: it ends at %lld of term %lld, mine at %lld of term %lld",
            index, last_term, last_index, mine);
    else if (asked == term && vote[0] && strcmp(vote, from))
        add(&why, "voted: already voted for %s in term %lld", vote, term);
    const char *kind = is_pre ? " prevote" : "";
    if (why.at) add(answer, "Not this time term %lld%s %s", term, kind, why.at);
    else add(answer, "Count on me term %lld%s", asked, kind);
    if (!why.at && !is_pre) save_promise(asked, from), role = FOLLOWER, arm_election();
    free(why.at);
}

/* --- a follower's log (§5.3; Figure 2, AppendEntries) -------------------------------------------- */
typedef struct { Number count; Entry *at; } Batch;
/* Read the JSON list: the indexes go on from `previous`, the terms never fall. */
static bool read_entries(const char **at, Number previous, Number low, Number high, Batch *read) {
    Number index;
    if (!scan(at, "[")) return false;
    while (!scan(at, "]")) {
        Text command = {0}, why = {0};
        read->at = grown(read->at, (size_t)(read->count + 1) * sizeof *read->at);
        Entry *one = &read->at[read->count];
        bool is_sound = (!read->count || scan(at, ", "))
            && scan(at, "{\"index\": '%', \"term\": '%', \"command\": ", &index, &one->term)
            && read_string(at, &command) && scan(at, "}") && !has_bad_byte(&why, command.at, command.length)
            && command.length && index == previous + read->count + 1 && one->term && one->term >= low;
        if (!is_sound || one->term > high) return free(command.at), free(why.at), false;
        one->command = command.at, low = one->term, read->count++;
    }
    return true;
}

static void hear_append(const char *from, Number sent_term, Number previous, Number previous_term,
                        const Batch *sent, Number leader_commit, Number round, Text *answer) {
    if (sent_term < term)                       /* receiver 1: an old leader learns the term */
        return add(answer, "GiveEntriesAfterIndex %lld term %lld round 0", last_index, term);
    if (sent_term == term && leader[0] && strcmp(leader, from))
        return add(answer, "Sorry, %s leads term %lld, so %s does not", leader, term, from);
    for (Number i = 0; i <= sent->count && previous + i <= commit_index; i++) {
        Number other = i ? sent->at[i - 1].term : previous_term, mine = entries[previous + i].term;
        if (mine != other)
            return add(answer, "Sorry, entry %lld is committed with term %lld, it is never replaced by term"
                       " %lld", previous + i, mine, other);
    }
    follow(sent_term, from);
    heard_at_ms = now_ms;
    arm_election();
    Number agree = last_index, match = previous + sent->count;
    if (previous > last_index || entries[previous].term != previous_term) {      /* receiver 2 */
        if (previous <= last_index)             /* §5.3, end: before the whole run of that term */
            for (agree = previous; entries[agree].term == entries[previous].term;) agree--;
        if (agree < commit_index) agree = commit_index;
        return add(answer, "GiveEntriesAfterIndex %lld term %lld round %lld", agree, term, round);
    }
    for (Number i = 0, index = previous + 1; i < sent->count; i++, index++) {
        if (index <= last_index && entries[index].term == sent->at[i].term) continue;
        if (index <= last_index) cut_after(index - 1);           /* receiver 3: a conflict alone */
        append_entry(sent->at[i].term, sent->at[i].command);     /* receiver 4 */
    }
    if (leader_commit > match) leader_commit = match;            /* receiver 5 */
    if (leader_commit > commit_index) commit_index = leader_commit;
    add(answer, "I am up to date term %lld index %lld round %lld", term, match, round);
}

/* --- what peers ask and answer (page: Peers) ----------------------------------------------------- */
static void hear_question(const char *from, const char *text, Text *answer) {
    Number asked, index, other, leader_commit = 0, round = 0, again;
    bool is_pre = !strncmp(text, "PreVote", 7);
    const char *at = text;
    Batch sent = {0};
    if (scan(&at, is_pre ? "PreVote %-%-%" : "RequestVote %-%-%", &asked, &index, &other)
        && (!*at || !strcmp(at, " newborn") || (!is_pre && !strcmp(at, " transfer")))
        && asked - term <= 1LL << 48 && other < asked && !index == !other) {
        hear_request_vote(from, is_pre, asked, index, other, at, answer);
    } else if (scan(&at, "AppendEntries %-%-%-", &asked, &index, &other) && asked > 0
               && asked - term <= 1LL << 48 && other <= asked && !index == !other
               && read_entries(&at, index, other, asked, &sent)
               && (!*at || scan(&at, " commit % round %", &leader_commit, &round))
               && (!*at || scan(&at, " vote again %", &again)) && !*at) {
        hear_append(from, asked, index, other, &sent, leader_commit, round, answer);
    } else if (scan(&at, "TimeoutNow %", &asked) && !*at) {      /* T3.10 */
        if (asked == term && role == FOLLOWER && !strcmp(leader, from)) stand(" transfer");
    } else {
        add(answer, "Sorry, malformed %.*s, or of no log that there can be", (int)strcspn(text, " "), text);
    }
    while (sent.count) free(sent.at[--sent.count].command);
    free(sent.at);
}

/* Take note of what an answer says of the follower's memory; false: that is old news. */
static bool hear_memory(Known *it, Number life, Number round) {
    if (life && life == it->life) return it->is_without_vote;
    if ((life || it->is_without_vote) && round < it->readmit_round) return false;
    if (!(it->is_without_vote = life != 0)) return true;
    it->life = life, it->readmit_round = round_now + 1;
    it->fence = it->again_round = it->match_index = 0;
    return it->is_probed = true;
}
static void hear_appended(Known *it, bool is_accepted, Number index, Number round, const char *marks) {
    Number lease, life = 0;
    scan(&marks, " lease %", &lease);
    scan(&marks, " without vote %", &life);
    if (round > round_now || (is_accepted && index > last_index) || !hear_memory(it, life, round)) return;
    it->heard_ms = now_ms;
    if (round > it->acked_round) it->acked_round = round;
    if (is_accepted) {
        if (index > it->match_index) it->match_index = index;
        if (index >= it->next_index) it->next_index = index + 1;
        it->is_probed = false;
    } else if (round > it->rewound_round) {     /* the first complaint counts: step back (§5.3) */
        if (index > it->next_index - 2) index = it->next_index - 2;
        it->next_index = (index > it->match_index ? index : it->match_index) + 1;
        it->rewound_round = round_now++;
        it->is_probed = true, it->probe_sent = false;
    }
}

static void hear_answer(Peer *peer, const char *text) {
    Number sent = 0, index, round;
    const char *at = text;
    bool is_vote = scan(&at, "Count on me term %", &sent), is_accepted = false;
    bool is_told = is_vote || scan(&at, "Not this time term %", &sent)
        || (is_accepted = scan(&at, "I am up to date term % index % round %", &sent, &index, &round))
        || scan(&at, "GiveEntriesAfterIndex % term % round %", &index, &sent, &round);
    bool is_pre = is_vote && !strcmp(at, " prevote");
    if (!is_told || (sent > term && !is_pre)) {
        if (is_told && sent - term <= 1LL << 48) follow(sent, "");               /* §5.1 */
    } else if (is_vote && role == (is_pre ? PRE_CANDIDATE : CANDIDATE) && sent == term + is_pre) {
        hear_vote(peer);
    } else if (!is_vote && text[0] != 'N' && role == LEADER && sent == term) {
        hear_appended(&peer->known, is_accepted, index, round, at);
    }
}

/* --- the leader (§5.3, §5.4.2) ------------------------------------------------------------------- */
static void send_append(Peer *peer, Number count) {
    Known *it = &peer->known;
    Text *out = &peer->link->out;
    size_t begin = out->length;
    Number previous = it->next_index - 1, index = previous;
    add(out, "%s@AppendEntries %lld-%lld-%lld-[", me, term, previous, entries[previous].term);
    while (index < last_index && index < previous + count && out->length - begin < 1 << 20) {
        add(out, "%s{\"index\": %lld, \"term\": %lld, \"command\": \"", index > previous ? ", " : "",
            index + 1, entries[index + 1].term);
        format_string(out, entries[++index].command);
        add(out, "\"}");
    }
    add(out, "] commit %lld round %lld", commit_index, round_now);
    if (it->is_without_vote && it->again_round && it->again_round <= round_now)
        add(out, " vote again %lld", it->life);
    add(out, "\n");
    it->probe_sent = it->is_probed;
    if (!it->is_probed) it->next_index = index + 1;
}
static void send_entries(Peer *peer, bool is_heartbeat) {
    Known *it = &peer->known;
    if (!peer->link) return;
    if (is_heartbeat || (it->is_probed && !it->probe_sent)) send_append(peer, 0);
    while (!it->is_probed && it->next_index <= last_index && peer->link->out.length < 4 << 20)
        send_append(peer, BATCH);
}
static Number reached_by_quorum(bool is_round) {
    Number reached[MEMBERS_MAX] = {is_round ? round_now : synced_index}, best = 0, *at = reached;
    EACH_PEER(peer)
        *++at = peer->known.is_without_vote ? 0 : is_round ? peer->known.acked_round : peer->known.match_index;
    for (int one = 0; one <= peer_count; one++) {
        int others = -1;
        for (int other = 0; other <= peer_count; other++) others += reached[other] >= reached[one];
        if (is_quorum(others) && reached[one] > best) best = reached[one];
    }
    return best;
}
static void pass_time(void) {
    if (role != LEADER && now_ms >= election_at_ms) on_silence();
    if (role != LEADER || now_ms < quorum_check_at_ms) return;
    int heard = 0;                              /* T6.2: nobody answers a leader that is cut off */
    EACH_PEER(peer) heard += !peer->known.is_without_vote && now_ms - peer->known.heard_ms <= ELECTION_MS;
    quorum_check_at_ms = now_ms + ELECTION_MS;
    if (!is_quorum(heard)) follow(term, "");
}
static void apply_committed(void) {
    Text reply = {0};
    for (; last_applied < commit_index; reply.length = 0) {
        execute(&reply, entries[++last_applied].command);
        if (writes.first && writes.first->index == last_applied) answer_first(&writes, reply.at);
    }
    Number confirmed = role == LEADER ? reached_by_quorum(true) : 0;     /* T6.4: of a later round */
    for (Request *read; (read = reads.first) && read->round <= confirmed && read->index <= last_applied;) {
        execute(&reply, read->command);
        answer_first(&reads, reply.at);
        reply.length = 0;
    }
    free(reply.at);
}

/* A leader asks for one more entry: once a quorum of the others has it, and the follower all up to
   it, the follower may vote again (docs/repair.md has the rule, src/raft/recovering.py the proof). */
static void readmit(Known *it) {
    if (!it->fence) {
        append_entry(term, "noop");
        it->fence = last_index;
    } else if (!it->again_round && it->fence <= commit_index && it->fence <= it->match_index) {
        it->again_round = round_now + 1, wants_round = true;
    }
}

/* What one turn of the loop asked for: the disk first, then all that depends on it. */
static void finish_step(void) {
    if (role == LEADER) EACH_PEER(peer) if (peer->known.is_without_vote) readmit(&peer->known);
    sync_log();
    Number index = role == LEADER ? reached_by_quorum(false) : 0;
    if (index > commit_index && entries[index].term == term) commit_index = index;       /* §5.4.2 */
    bool is_heartbeat = role == LEADER && (wants_round || now_ms >= heartbeat_at_ms);
    if (is_heartbeat) round_now++, heartbeat_at_ms = now_ms + HEARTBEAT_MS;
    wants_round = false;
    apply_committed();
    if (role == LEADER) EACH_PEER(peer) send_entries(peer, is_heartbeat);
}
