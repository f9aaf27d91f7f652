/* NAME.log and NAME.storage, in raftline's forms (grammar: NAME.log and NAME.storage). A failed
   write or sync ends the node: only what is on the disk may be promised (Figure 2, "updated on
   stable storage before responding to RPCs"). */
#include "text.h"
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>
enum { NAME_SIZE = 65 };
typedef struct { Number term; char *command; } Entry;
static char me[NAME_SIZE], vote[NAME_SIZE];     /* vote: "" stands for nobody */
static Number term, last_index, synced_index;   /* the log's end, and what of it is on the disk */
static Entry *entries;                          /* from index 1 on; entries[0] is of term 0 */
static Number entries_room, batch_entries;
static char log_path[4096], storage_path[4096], temporary_path[4096];
static int log_file, storage_file, folder_file;
static off_t mark_offset;
static Text batch;                              /* lines that are not written yet */
static uint32_t open_crc;                       /* of the bytes behind the last checksum of the log */

static void need(bool done, const char *path) { if (!done) die(4, "%s: %s", path, strerror(errno)); }

/* Format both lines of NAME.storage. The mark, the last entry that was synced, has a fixed width. */
static void format_storage(Text *out, const char *state, Number mark_index, Number mark_term) {
    add(out, "name %s term %lld vote %s state %s", me, term, vote[0] ? vote : "-", state);
    add(out, " crc32 %08x\n", crc32_of(out->at, out->length, 0));
    mark_offset = (off_t)out->length;
    add(out, "synced entry %019lld term %019lld", mark_index, mark_term);
    add(out, " crc32 %08x\n", crc32_of(out->at + mark_offset, out->length - (size_t)mark_offset, 0));
}
static void write_mark(void) {                  /* in place, and not synced */
    Text whole = {0};
    format_storage(&whole, "whole", synced_index, entries[synced_index].term);
    const char *mark = whole.at + mark_offset;
    need(pwrite(storage_file, mark, strlen(mark), mark_offset) > 0, storage_path);
    free(whole.at);
}

/* Term and vote are on the disk when it returns: written aside, synced, renamed, the folder synced. */
static void save_promise(Number new_term, const char *new_vote) {
    Text whole = {0};
    term = new_term;
    memmove(vote, new_vote, strlen(new_vote) + 1);
    format_storage(&whole, "whole", synced_index, entries[synced_index].term);
    if (storage_file > 0) close(storage_file);
    storage_file = open(temporary_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    need(storage_file > 0 && write(storage_file, whole.at, whole.length) == (ssize_t)whole.length
         && !fsync(storage_file) && !rename(temporary_path, storage_path) && !fsync(folder_file), storage_path);
    free(whole.at);
}
static void hold(Number entry_term, const char *command) {
    if (++last_index >= entries_room)
        entries = grown(entries, (size_t)(entries_room = 2 * last_index) * sizeof *entries);
    entries[last_index] = (Entry){entry_term, strdup(command)};
}
static void append_entry(Number entry_term, const char *command) {
    hold(entry_term, command);
    add(&batch, "%lld %lld %s\n", last_index, entry_term, command);
    batch_entries++;
}
static void forget_after(Number index) {
    for (; last_index > index; last_index--) free(entries[last_index].command);
}
static void cut_after(Number index) {
    if (index < synced_index) {                 /* the mark never names an entry that was cut */
        synced_index = index;
        write_mark();
        need(!fdatasync(storage_file), storage_path);
    }
    forget_after(index);
    add(&batch, "# cut after %lld\n", index);
}

/* All entries since the last call are on the disk when it returns: one write, one sync. */
static void sync_log(void) {
    if (synced_index == last_index && !batch_entries) return;
    add(&batch, "# %lld entr%s synced, crc32 %08x\n", batch_entries, batch_entries == 1 ? "y" : "ies",
        crc32_of(batch.at, batch.length, open_crc));
    need(write(log_file, batch.at, batch.length) == (ssize_t)batch.length && !fdatasync(log_file), log_path);
    batch.length = 0, batch_entries = 0, open_crc = 0;
    synced_index = last_index;
    write_mark();
}

/* --- the start ----------------------------------------------------------------------------------- */
static void read_file(int file, const char *path, Text *into) {
    char piece[4096];
    ssize_t length;
    make_room(into, 0);
    while ((length = read(file, piece, sizeof piece)) > 0) add_bytes(into, piece, (size_t)length);
    need(!length, path);
}

/* Take over term, vote and mark. The file is sound if its values, formatted again, are its bytes. */
static void load_storage(Number *mark_index, Number *mark_term) {
    Text whole = {0}, again = {0};
    char state[16];
    storage_file = open(storage_path, O_RDWR | O_CLOEXEC);
    if (storage_file < 0 && errno == ENOENT) return;
    read_file(storage_file, storage_path, &whole);
    int read = sscanf(whole.at, "name %*s term %lld vote %64s state %15s crc32 %*x synced entry %lld term %lld",
                      &term, vote, state, mark_index, mark_term);
    if (read == 5 && !strcmp(vote, "-")) vote[0] = 0;
    if (read == 5) format_storage(&again, state, *mark_index, *mark_term);
    if (read != 5 || strcmp(whole.at, again.at) || (strcmp(state, "whole") && strcmp(state, "newborn")))
        die(3, "%s is damaged, of another node, or of a state that this node does not know", storage_path);
    free(whole.at), free(again.at);
}

/* Read lines up to `end`; each checksum checks the bytes since the one before. */
static void load_lines(const char *begin, const char *end) {
    const char *open = begin, *next;
    for (const char *line = begin; line < end; line = next) {
        next = strchr(line, '\n') + 1;
        char *copy = strndup(line, (size_t)(next - line) - 1), crc[9];
        Number index, entry_term;
        const char *at = copy;
        if (scan(&at, "# cut after %", &index) && index <= last_index) {
            forget_after(index);
        } else if (scan(&at, "# % entr", &index)) {
            sprintf(crc, "%08x", crc32_of(open, (size_t)(line - open), 0));
            if (memcmp(next - 9, crc, 8)) die(3, "%s is damaged above \"%s\"", log_path, copy);
            open = next;
        } else if (scan(&at, "% % ", &index, &entry_term) && index == last_index + 1
                   && entry_term > 0 && entry_term >= entries[last_index].term) {
            hold(entry_term, at);
        } else if (line != begin || strncmp(copy, "0 0 base", 8)) {      /* which names the members */
            die(3, "%s is damaged, or not understood: %s", log_path, copy);
        }
        free(copy);
    }
    open_crc = crc32_of(open, (size_t)(end - open), 0);
}

/* Bytes behind the last checksum and the mark were never acknowledged. They may be torn, so they go. */
static void load_log(Number mark_index, Number mark_term, const char *members) {
    Text whole = {0};
    Number index, entry_term;
    read_file(log_file, log_path, &whole);
    const char *good = whole.at, *line = whole.at, *end;
    for (const char *at; (at = line, end = strchr(line, '\n')); line = end + 1) {
        bool is_mark = scan(&at, "% % ", &index, &entry_term) && index == mark_index && entry_term == mark_term;
        if (is_mark || scan(&at, "# % entr", &index)) good = end + 1;
    }
    load_lines(whole.at, good);
    if (last_index < mark_index || entries[last_index].term > term)
        die(3, "%s ends at %lld, and %s tells of entry %lld and term %lld: something is lost", log_path, last_index,
            storage_path, mark_index, term);
    need(!ftruncate(log_file, good - whole.at) && !fdatasync(log_file), log_path);
    if (good == whole.at) add(&batch, "0 0 base%s\n", members);
    synced_index = last_index;
    free(whole.at);
}

static void open_files(const char *folder, const char *members) {
    Number mark_index = 0, mark_term = 0;
    snprintf(log_path, sizeof log_path, "%s/%s.log", folder, me);
    snprintf(storage_path, sizeof storage_path, "%s/%s.storage", folder, me);
    snprintf(temporary_path, sizeof temporary_path, "%s/%s.storage.new", folder, me);
    need((folder_file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0, folder);
    log_file = open(log_path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    need(log_file >= 0 && !flock(log_file, LOCK_EX | LOCK_NB), log_path);
    entries = grown(NULL, (size_t)(entries_room = 64) * sizeof *entries);
    entries[0] = (Entry){0, NULL};
    load_storage(&mark_index, &mark_term);
    load_log(mark_index, mark_term, members);
    save_promise(term, vote);
}
