/* The loop: sockets, and lines in and out (page: Names, Clients, Peers). node NAME PORT FOLDER */
#include "raft.h"
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
enum { LINE_BYTES_MAX = 64 << 20, OUT_BYTES_MAX = 4 << 20, CONNECTIONS_MAX = 1000, TICK_MS = 10 };
static Connection *connections[CONNECTIONS_MAX];
static struct pollfd polled[CONNECTIONS_MAX + 1];       /* the last one takes new connections */
static int connection_count;

/* Return the text behind `NAME@` or `NAME#ID@`; NULL where that is neither a name nor an id. */
static const char *split_sender(const char *line, char *sender, char *id, Text *why) {
    const char *at = memchr(line, '@', strcspn(line, " "));
    if (!at) return line;
    const char *hash = memchr(line, '#', (size_t)(at - line)), *digits = hash ? hash + 1 : "0@";
    size_t length = (size_t)((hash ? hash : at) - line);
    Number value;
    if (!is_name(line, length)) {
        add(why, "\"%.*s\" is not a name. A name is a letter, then letters, digits, _ . or -, at most 64 in"
            " all: client4@get KEY", shown(line, length < 60 ? length : 60), line);
    } else if ((digits[0] == '0' && digits[1] != '@') || !scan(&digits, "%@", &value)) {
        add(why, "\"%.*s\" is not a request id. An id is a number from 0 to 9223372036854775807 without"
            " leading zeros: client4#17@get KEY", shown(hash + 1, at - hash < 60 ? (size_t)(at - hash) - 1 : 60), hash + 1);
    } else {
        sprintf(sender, "%.*s", (int)length, line);
        sprintf(id, "%.*s", hash ? (int)(at - hash) : 0, hash ? hash : "");
        return at + 1;
    }
    return NULL;
}

/* Answer a message of a server; false: this is none. */
static bool take_message(Connection *from, const char *sender, const char *text) {
    static const char asks[] = " PreVote RequestVote AppendEntries TimeoutNow ",
        answers[] = " Count Not I GiveEntriesAfterIndex Read GiveSnapshotAfterByte InstallSnapshot ReadIndex ";
    char word[32];
    Text answer = {0};
    bool is_peer = false;
    snprintf(word, sizeof word, " %.*s ", (int)strcspn(text, " "), text);
    if (!sender[0] || (!strstr(asks, word) && !strstr(answers, word))) return false;
    EACH_PEER(peer) is_peer = is_peer || !strcmp(peer->name, sender);
    if (!is_peer) add(&answer, "Sorry, %s is not a peer of %s, so it can't say %.*s", sender, me, shown(text, 40), text);
    else if (strstr(" InstallSnapshot ReadIndex ", word)) add(&answer, "Sorry, this node does not know%s", word);
    else if (strstr(asks, word)) hear_question(sender, text, &answer);
    else add(&answer, "Sorry, an answer is only taken on the connection that asked");
    if (answer.at) say(from, "", answer.at);
    free(answer.at);
    return true;
}

/* Take one line of a connection; false: it waits until those before it are answered. */
static bool take_line(Connection *from, const char *line, size_t length) {
    Request request = {.from = from};
    Text answer = {0}, command = {0}, why = {0};
    char sender[NAME_SIZE] = "";
    const char *text = NULL, *order = "";
    if (!has_bad_byte(&why, line, length)) text = split_sender(line + strspn(line, " "), sender, request.id, &why);
    if (text && take_message(from, sender, text)) return true;
    if (text) order = text + strspn(text, " ");
    if (sender[0] && !strncmp(order, "Level ", 6)) add(&answer, "Level 1 version conform");
    else if (!text || !read_request(&command, order, &why)) add(&answer, "Sorry, %s", why.at);
    bool is_read = command.at && !strncmp(command.at, "get ", 4);
    bool waits = from->waiting && (answer.at || is_read != from->waits_for_reads);      /* page: Order */
    if (!answer.at && role != LEADER) say_leader(&answer);
    if (!waits && answer.at) {
        say(from, request.id, answer.at);
    } else if (!waits) {
        Text entry = {0};
        if (request.id[0] && !is_read) add(&entry, "%s%s@", sender, request.id);
        add(&entry, "%s", command.at);
        request.command = entry.at;
        from->waits_for_reads = is_read, from->waiting++;
        submit(is_read ? &reads : &writes, request);
    }
    free(command.at), free(answer.at), free(why.at);
    return !waits;
}

/* --- sockets ------------------------------------------------------------------------------------- */
static int socket_at(const char *host, const char *port, bool listens) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host, port, &hints, &found)) return -1;
    int file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool fails = listens ? bind(file, found->ai_addr, found->ai_addrlen) || listen(file, 128)
                         : connect(file, found->ai_addr, found->ai_addrlen) && errno != EINPROGRESS;
    freeaddrinfo(found);
    if (fails) close(file);
    return fails ? -1 : file;
}
static Connection *take_socket(int file, bool is_dialed) {
    int on = 1;
    if (file < 0 || connection_count == CONNECTIONS_MAX) return close(file), NULL;
    setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Connection *fresh = grown(NULL, sizeof *fresh);
    *fresh = (Connection){.file = file, .is_dialed = is_dialed};
    make_room(&fresh->in, 0), make_room(&fresh->out, 0);
    return connections[connection_count++] = fresh;
}
static void end_connection(int place) {
    Connection *gone = connections[place];
    connections[place] = connections[--connection_count];
    for (Request *one = writes.first; one; one = one->next) if (one->from == gone) one->from = NULL;
    for (Request *one = reads.first; one; one = one->next) if (one->from == gone) one->from = NULL;
    EACH_PEER(peer) if (peer->link == gone) {
        peer->link = NULL;
        peer->known.is_probed = true, peer->known.probe_sent = false;
    }
    close(gone->file);
    free(gone->in.at), free(gone->out.at), free(gone);
}

static void take_lines(Connection *from) {
    char *line = from->in.at, *end, sender[NAME_SIZE], id[24];
    for (; (end = memchr(line, '\n', from->in.length - (size_t)(line - from->in.at))); line = end + 1) {
        char *last = end > line && end[-1] == '\r' ? end - 1 : end, kept = *last;
        Text why = {0};
        *last = 0;
        const char *text = from->is_dialed ? split_sender(line, sender, id, &why) : NULL;
        bool waits = !from->is_dialed && !take_line(from, line, (size_t)(last - line));
        if (waits) *last = kept;
        if (waits) break;
        EACH_PEER(peer) if (text && peer->link == from && !strcmp(sender, peer->name)) hear_answer(peer, text);
        free(why.at);
    }
    drop_front(&from->in, (size_t)(line - from->in.at));
}

/* Read what has come; false: the connection is over. */
static bool read_more(Connection *from) {
    static char piece[1 << 16];
    ssize_t length = read(from->file, piece, sizeof piece);
    if (length > 0) add_bytes(&from->in, piece, (size_t)length);
    return (length > 0 || (length < 0 && errno == EAGAIN)) && from->in.length < LINE_BYTES_MAX;
}
static bool write_more(Connection *to) {
    ssize_t length = to->out.length ? send(to->file, to->out.at, to->out.length, MSG_NOSIGNAL) : 0;
    if (length > 0) drop_front(&to->out, (size_t)length);
    return length >= 0 || errno == EAGAIN;
}
static void look_at_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    now_ms = now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Wait until there is something to do, and do it all. Nothing leaves before the step is finished. */
static void turn(int listener) {
    EACH_PEER(peer) if (!peer->link && now_ms >= peer->dial_at_ms) {
        peer->link = take_socket(socket_at(peer->host, peer->port, false), true);
        peer->dial_at_ms = now_ms + 50;
    }
    int count = connection_count;
    for (int i = 0; i < count; i++) {
        Connection *one = connections[i];
        bool is_slow = one->out.length > OUT_BYTES_MAX || one->waiting > 1000;
        polled[i] = (struct pollfd){one->file, is_slow ? POLLOUT : one->out.length ? POLLIN | POLLOUT : POLLIN, 0};
    }
    polled[count] = (struct pollfd){listener, POLLIN, 0};
    poll(polled, (nfds_t)count + 1, TICK_MS);
    look_at_clock();
    for (int i = count - 1; i >= 0; i--) {
        bool is_over = polled[i].revents & ~POLLOUT && !read_more(connections[i]);
        take_lines(connections[i]);
        if (is_over) end_connection(i);
    }
    if (polled[count].revents) take_socket(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), false);
    pass_time();
    finish_step();
    for (int i = connection_count - 1; i >= 0; i--) if (!write_more(connections[i])) end_connection(i);
    fflush(stdout);
}

/* server-configuration.txt: `NAME HOST PORT` or `NAME PORT`, one member a line; # begins a comment. */
static void load_members(const char *folder, Text *members) {
    char path[4096], line[1024], host[256], port[256];
    snprintf(path, sizeof path, "%s/server-configuration.txt", folder);
    FILE *file = fopen(path, "r");
    need(file != NULL, path);
    while (fgets(line, sizeof line, file)) {
        Peer *one = &peers[peer_count];
        line[strcspn(line, "#")] = 0;
        int words = sscanf(line, "%64s %255s %255s", one->name, host, port);
        if (words < 2) continue;
        snprintf(one->host, sizeof one->host, "%s", words == 3 ? host : "localhost");
        snprintf(one->port, sizeof one->port, "%.7s", words == 3 ? port : host);
        add(members, " %s=%s:%s", one->name, one->host, one->port);
        if (strcmp(one->name, me) && ++peer_count == MEMBERS_MAX) die(2, "%s: too many members", path);
    }
    fclose(file);
}

int main(int count, char **words) {
    Text members = {0};
    if (count != 4 || !is_name(words[1], strlen(words[1]))) die(2, "node NAME PORT FOLDER");
    strcpy(me, words[1]);
    load_members(words[3], &members);
    open_files(words[3], members.at);
    int listener = socket_at("127.0.0.1", words[2], true);
    need(listener >= 0, words[2]);
    signal(SIGPIPE, SIG_IGN);
    srand((unsigned)getpid());
    look_at_clock();
    if (peer_count) arm_election();             /* a lone member has no leader to hear */
    printf("[*] Server started on port %s, in term %lld, its log ends at %lld\n", words[2], term, last_index);
    for (;;) turn(listener);
}
