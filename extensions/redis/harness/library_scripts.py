"""The scripts that libraries of Redis send, by a name for tests.

incr-expire and incr-pexpire are the usual ways to write such a script."""

from __future__ import annotations

from typing import Final

TEXTS: Final[dict[str, tuple[str, ...]]] = {
    "lock-release": (
        """if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('del', KEYS[1])
else
    return 0
end""",
        """if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('del', KEYS[1])
end
return 0""",
        """if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
else
    return 0
end""",
        """if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0""",
    ),
    "lock-renew": (
        """if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('pexpire', KEYS[1], ARGV[2])
else
    return 0
end""",
        """if redis.call('get', KEYS[1]) == ARGV[1] then
    return redis.call('pexpire', KEYS[1], ARGV[2])
end
return 0""",
        """if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
    return 0
end""",
        """if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0""",
    ),
    "lock-extend": (
        """local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
local expiration = redis.call('pttl', KEYS[1])
if not expiration then
    expiration = 0
end
if expiration < 0 then
    return 0
end
local newttl = ARGV[2]
if ARGV[3] == "0" then
    newttl = ARGV[2] + expiration
end
redis.call('pexpire', KEYS[1], newttl)
return 1""",
    ),
    "lock-add": (
        """local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
local expiration = redis.call('pttl', KEYS[1])
if not expiration then
    expiration = 0
end
if expiration < 0 then
    return 0
end
redis.call('pexpire', KEYS[1], expiration + ARGV[2])
return 1""",
    ),
    "lock-left": (
        """if redis.call('get', KEYS[1]) == ARGV[1] then
    local pttl = redis.call('pttl', KEYS[1])
    return (pttl > 0) and pttl or 0
else
    return 0
end""",
    ),
    "locks-acquire": (
        """for i, key in ipairs(KEYS) do
            if redis.call("exists", key) == 1 then
                return 0
            end
        end
for i, key in ipairs(KEYS) do
    redis.call("set", key, ARGV[1], "PX", ARGV[2])
end
return #KEYS""",
    ),
    "locks-extend": (
        """for i, key in ipairs(KEYS) do
            if redis.call("get", key) ~= ARGV[1] then
                return 0
            end
        end
for i, key in ipairs(KEYS) do
    redis.call("set", key, ARGV[1], "PX", ARGV[2])
end
return #KEYS""",
    ),
    "locks-release": (
        """local count = 0
for i, key in ipairs(KEYS) do
    if redis.call("get", key) == ARGV[1] then
        redis.pcall("del", key)
        count = count + 1
    end
end
return count""",
    ),
    "lock-set": (
        """local identifier = redis.call('get', KEYS[1])
if not identifier or identifier == ARGV[1] then
    return redis.call("set", KEYS[1], ARGV[1], 'PX', ARGV[2])
else
    return redis.error_reply('ERROR')
end""",
    ),
    "lock-unset": (
        """local identifier = redis.call('get', KEYS[1])
if not identifier then
    return redis.status_reply('OK')
elseif identifier == ARGV[1] then
    return redis.call("del", KEYS[1])
else
    return redis.error_reply('ERROR')
end""",
    ),
    "lock-ttl": (
        """local identifier = redis.call('get', KEYS[1])
if not identifier then
    return redis.error_reply('ERROR')
elseif identifier == ARGV[1] then
    return redis.call("TTL", KEYS[1])
else
    return redis.error_reply('ERROR')
end""",
    ),
    "lock-take": (
        """local value = redis.call('GET', KEYS[1])
if not value then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return 1
elseif value == ARGV[1] then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
    return 2
end
return 0""",
    ),
    "incr-expire": (
        """local
c = redis.call('incr', KEYS[1])
if c == 1 then
    redis.call('expire', KEYS[1], ARGV[1]) end
return c""",
        """local
c = redis.call('incr', KEYS[1]);
if c == 1 then
    redis.call('expire', KEYS[1], ARGV[1]) end
return c""",
        """local
c = redis.call('incr', KEYS[1]);
if c == 1 then
    redis.call('expire', KEYS[1], ARGV[1]) end;
return c""",
        """local
c = redis.call('incr', KEYS[1]);
if c == 1 then
    redis.call('expire', KEYS[1], ARGV[1]); end
return c""",
    ),
    "incr-pexpire": (
        """local
c = redis.call('incr', KEYS[1])
if c == 1 then
    redis.call('pexpire', KEYS[1], ARGV[1]) end
return c""",
        """local
c = redis.call('incr', KEYS[1]);
if c == 1 then
    redis.call('pexpire', KEYS[1], ARGV[1]) end
return c""",
        """local
c = redis.call('incr', KEYS[1]);
if c == 1 then
    redis.call('pexpire', KEYS[1], ARGV[1]) end;
return c""",
        """local
c = redis.call('incr', KEYS[1]);
if c == 1 then
    redis.call('pexpire', KEYS[1], ARGV[1]); end
return c""",
    ),
    "incrby-expire": (
        """local current
local amount = tonumber(ARGV[2])
current = redis.call("incrby", KEYS[1], amount)
if tonumber(current) == amount then
    redis.call("expire", KEYS[1], ARGV[1])
end
return current""",
    ),
    "incrby-pexpire": (
        """local current_count = redis.call("INCRBY", KEYS[1], ARGV[1])
if current_count == 1 then
    redis.call("PEXPIRE", KEYS[1], ARGV[2])
end
return current_count""",
    ),
    "incrby-existing": (
        """local exists = redis.call('EXISTS', KEYS[1])
if (exists == 1) then
    return redis.call('INCRBY', KEYS[1], ARGV[1])
else return false end""",
    ),
    "incrby": (
        "return redis.call('INCRBY', KEYS[1], ARGV[1])",
    ),
    "next-id": (
        """local curr = tonumber(redis.call('get', KEYS[1]))
local next = tonumber(ARGV[1])
if curr == nil or curr < next then
    redis.call('set', KEYS[1], next)
    return next
else
    return nil
end""",
    ),
    "compare-and-set": (
        """if redis.call('get',KEYS[1]) == ARGV[2] then
    if #ARGV == 4 then
        return redis.call('set', KEYS[1], ARGV[1], ARGV[3], ARGV[4])
    else
        return redis.call('set', KEYS[1], ARGV[1])
    end
else
    return 0
end""",
    ),
    "rate-limiter-flexible": (
        """redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
local consumed = redis.call('incrby', KEYS[1], ARGV[1])
local ttl = redis.call('pttl', KEYS[1])
if ttl == -1 then
    redis.call('expire', KEYS[1], ARGV[2])
    ttl = 1000 * ARGV[2]
end
return {consumed, ttl}""",
    ),
    "rate-limit-redis": (
        """local windowMs = tonumber(ARGV[1])
local timeToExpire = redis.call("PTTL", KEYS[1])
if timeToExpire <= 0 then
    redis.call("SET", KEYS[1], 1, "PX", windowMs)
    return { 1, windowMs }
end
local totalHits = redis.call("INCR", KEYS[1])
return { totalHits, timeToExpire }""",
    ),
    "rate-limit-redis-4": (
        """local totalHits = redis.call("INCR", KEYS[1])
local timeToExpire = redis.call("PTTL", KEYS[1])
if timeToExpire <= 0 or ARGV[1] == "1" then
    redis.call("PEXPIRE", KEYS[1], tonumber(ARGV[2]))
    timeToExpire = tonumber(ARGV[2])
end
return { totalHits, timeToExpire }""",
    ),
    "rate-limit-redis-get": (
        """local totalHits = redis.call("GET", KEYS[1])
local timeToExpire = redis.call("PTTL", KEYS[1])
return { totalHits, timeToExpire }""",
    ),
    "fastify-rate-limit": (
        """local key = KEYS[1]
local timeWindow = tonumber(ARGV[1])
local max = tonumber(ARGV[2])
local continueExceeding = ARGV[3] == 'true'
local exponentialBackoff = ARGV[4] == 'true'
local MAX_SAFE_INTEGER = (2^53) - 1
local current = redis.call('INCR', key)
if current == 1 or (continueExceeding and current > max) then
    redis.call('PEXPIRE', key, timeWindow)
elseif exponentialBackoff and current > max then
    local backoffExponent = current - max - 1
    timeWindow = math.min(timeWindow * (2 ^ backoffExponent), MAX_SAFE_INTEGER)
    redis.call('PEXPIRE', key, timeWindow)
else
    timeWindow = redis.call('PTTL', key)
end
return {current, timeWindow}""",
    ),
    "fastify-rate-limit-read": (
        """local key = KEYS[1]
local current = redis.call('GET', key)
if not current then
    return {0, 0}
end
local ttl = redis.call('PTTL', key)
if ttl < 0 then
    ttl = 0
end
return {tonumber(current), ttl}""",
    ),
    "limits-sliding-window": (
        """local limit = tonumber(ARGV[1])
local expiry = tonumber(ARGV[2]) * 1000
local amount = tonumber(ARGV[3])
if amount > limit then
    return false
end
local current_ttl = tonumber(redis.call('pttl', KEYS[2]))
if current_ttl > 0 and current_ttl < expiry then
    redis.call('rename', KEYS[2], KEYS[1])
    redis.call('set', KEYS[2], 0, 'PX', current_ttl + expiry)
end
local previous_count = tonumber(redis.call('get', KEYS[1])) or 0
local previous_ttl = tonumber(redis.call('pttl', KEYS[1])) or 0
local current_count = tonumber(redis.call('get', KEYS[2])) or 0
current_ttl = tonumber(redis.call('pttl', KEYS[2])) or 0
if previous_ttl <= 0 then
    previous_ttl = 0
end
if current_ttl <= 0 then
    current_ttl = 0
end
local weighted_count = math.floor(previous_count * previous_ttl / expiry) + current_count
if (weighted_count + amount) > limit then
    return false
end
if redis.call('exists', KEYS[2]) == 1 then
    redis.call('incrby', KEYS[2], amount)
else
    redis.call('set', KEYS[2], amount, 'PX', expiry * 2)
end
return true""",
    ),
    "limits-sliding-window-get": (
        """local expiry = tonumber(ARGV[1]) * 1000
local previous_count = redis.call('get', KEYS[1])
local previous_ttl = redis.call('pttl', KEYS[1])
local current_count = redis.call('get', KEYS[2])
local current_ttl = redis.call('pttl', KEYS[2])
if current_ttl > 0 and current_ttl < expiry then
    redis.call('rename', KEYS[2], KEYS[1])
    redis.call('set', KEYS[2], 0, 'PX', current_ttl + expiry)
    previous_count = redis.call('get', KEYS[1])
    previous_ttl = redis.call('pttl', KEYS[1])
    current_count = redis.call('get', KEYS[2])
    current_ttl = redis.call('pttl', KEYS[2])
end
return {previous_count, previous_ttl, current_count, current_ttl}""",
    ),
    "redis-lock-release": (
        """if redis.call("get", KEYS[1]) ~= ARGV[1] then
            return 1
        else
redis.call('del', KEYS[2])
redis.call('lpush', KEYS[2], 1)
redis.call('pexpire', KEYS[2], ARGV[2])
            redis.call("del", KEYS[1])
            return 0
        end""",
    ),
    "redis-lock-extend": (
        """if redis.call("get", KEYS[1]) ~= ARGV[1] then
    return 1
elseif redis.call("ttl", KEYS[1]) < 0 then
    return 2
else
    redis.call("expire", KEYS[1], ARGV[2])
    return 0
end""",
    ),
    "redis-lock-reset": (
        """redis.call('del', KEYS[2])
redis.call('lpush', KEYS[2], 1)
redis.call('pexpire', KEYS[2], ARGV[2]) return redis.call('del', KEYS[1])""",
    ),
    "walrus-lock-acquire": (
        """local key = KEYS[1]
local lock_id = ARGV[1]
local ttl = tonumber(ARGV[2])
local ret = redis.call('setnx', key, lock_id)
if ret == 1 and ttl > 0 then
  redis.call('pexpire', key, ttl)
end
return ret""",
    ),
    "walrus-lock-release": (
        """local key = KEYS[1]
local event_key = KEYS[2]
local lock_id = ARGV[1]
if redis.call("get", key) == lock_id then
  redis.call("lpush", event_key, 1)
  redis.call("ltrim", event_key, 0, 0) -- Trim all but the first item.
  return redis.call("del", key)
else
  return 0
end""",
    ),
    "limits-moving-window": (
        """local timestamp = tonumber(ARGV[1])
local limit = tonumber(ARGV[2])
local expiry = tonumber(ARGV[3])
local amount = tonumber(ARGV[4])
if amount > limit then
    return false
end
local entry = redis.call('lindex', KEYS[1], limit - amount)
if entry and tonumber(entry) >= timestamp - expiry then
    return false
end
local entries = {}
for i = 1, amount do
    entries[i] = timestamp
end
for i=1,#entries,5000 do
    redis.call('lpush', KEYS[1], unpack(entries, i, math.min(i+4999, #entries)))
end
redis.call('ltrim', KEYS[1], 0, limit - 1)
redis.call('expire', KEYS[1], expiry)
return true""",
    ),
    "limits-moving-window-get": (
        """local len = tonumber(ARGV[2])
local expiry = tonumber(ARGV[1])
local function oldest_entry(high, target)
    local low = 0
    local result = nil
    while low <= high do
        local mid = math.floor((low + high) / 2)
        local val = tonumber(redis.call('lindex', KEYS[1], mid))
        if val and val >= target then
            result = mid
            low = mid + 1
        else
            high = mid - 1
        end
    end
    return result
end
local index = oldest_entry(len - 1, expiry)
if index then
    local count = index + 1
    local oldest = tonumber(redis.call('lindex', KEYS[1], index))
    return {tostring(oldest), count}
end""",
    ),
    "huey-due": (
        """local unix_ts = tonumber(ARGV[1])
local res = redis.call('zrangebyscore', KEYS[1], '-inf', unix_ts)
if #res and redis.call('zremrangebyscore', KEYS[1], '-inf', unix_ts) == #res then
    return res
end""",
    ),
    "cashews-sliding-window": (
        """redis.call("ZREMRANGEBYSCORE", KEYS[1], 0, "(" .. ARGV[1])
local current_count = redis.call("ZCOUNT", KEYS[1], ARGV[1], ARGV[2])
if current_count < tonumber(ARGV[3]) then
    current_count = current_count + 1
    redis.call("ZADD", KEYS[1], ARGV[2], ARGV[2])
    if tonumber(ARGV[4]) > 0 then
        redis.call("PEXPIRE", KEYS[1], ARGV[4])
    end
end
return current_count""",
    ),
    "pyrate-put": (
        """local bucket = KEYS[1]
local now = ARGV[1]
local space_required = tonumber(ARGV[2])
local item_name = ARGV[3]
local rates_count = tonumber(ARGV[4])
for i=1,rates_count do
    local offset = (i - 1) * 3
    local window_start = tonumber(ARGV[5 + offset])
    local limit = tonumber(ARGV[5 + offset + 1])
    local blocking_rank = tonumber(ARGV[5 + offset + 2])
    local count = redis.call('ZCOUNT', bucket, window_start, now)
    local space_available = limit - tonumber(count)
    if space_available < space_required then
        local blocking_timestamp = -1
        if blocking_rank >= 0 then
            local blocking = redis.call('ZRANGE', bucket, -1 - blocking_rank,
                                        -1 - blocking_rank, 'WITHSCORES')
            if blocking[2] then
                blocking_timestamp = tonumber(blocking[2])
            end
        end
        return {i - 1, blocking_timestamp}
    end
end
local batch = {}
local batch_size = 1000
for i=1,space_required do
    batch[#batch + 1] = now
    batch[#batch + 1] = item_name..i
    if #batch == batch_size * 2 then
        redis.call('ZADD', bucket, unpack(batch))
        batch = {}
    end
end
if #batch > 0 then
    redis.call('ZADD', bucket, unpack(batch))
end
return {-1, -1}""",
    ),
    "channels-put-back": (
        """local backed_up = redis.call('ZRANGE', ARGV[2], 0, -1, 'WITHSCORES')
for i = #backed_up, 1, -2 do
    redis.call('ZADD', ARGV[1], backed_up[i], backed_up[i - 1])
end
redis.call('DEL', ARGV[2])""",
    ),
    "channels-group-send": (
        """local over_capacity = 0
local current_time = ARGV[#ARGV - 1]
local expiry = ARGV[#ARGV]
for i=1,#KEYS do
    if redis.call('ZCOUNT', KEYS[i], '-inf', '+inf') < tonumber(ARGV[i + #KEYS]) then
        redis.call('ZADD', KEYS[i], current_time, ARGV[i])
        redis.call('EXPIRE', KEYS[i], expiry)
    else
        over_capacity = over_capacity + 1
    end
end
return over_capacity""",
    ),
    "kombu-refresh-binding": (
        """redis.call('SADD', KEYS[1], ARGV[1])
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
        redis.call('ZADD', KEYS[2], 'GT', ms + tonumber(ARGV[3]), ARGV[2])""",
    ),
    "kombu-sweep-bindings": (
        """local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
        local overdue = redis.call(
            'ZRANGEBYSCORE', KEYS[1], '-inf', ms, 'LIMIT', 0, tonumber(ARGV[3]))
        for _, exchange in ipairs(overdue) do
            if redis.call('EXISTS', ARGV[2] .. exchange) == 0 then
                redis.call('DEL', ARGV[1] .. exchange)
            end
            redis.call('ZREM', KEYS[1], exchange)
        end
        return #overdue""",
    ),
}  # fmt: skip
