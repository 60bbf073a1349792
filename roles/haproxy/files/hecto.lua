-- Written by Ansible: role haproxy.

-- "timeout connect" of hecto.cfg, and a little: by then nobody is on the way any more to a server that gets no new connections.
local CONNECT_MS = 2250
local PAUSE_MS = 250

local function is_up(server)
    return string.find(server:get_stats()["status"], "^UP") ~= nil
end

-- Let a new connection wait until exactly one server is the primary. None: another is about to be. Several: HAProxy has just started and
-- has not asked them yet, or the old one has not heard that it is no more. Without this HAProxy closes it at once, or chooses one of them.
core.register_action("wait_for_primary", { "tcp-req" }, function(txn, backend, patience)
    local waited = 0
    while waited < tonumber(patience) do
        local up = 0
        for _, server in pairs(core.backends[backend].servers) do
            if is_up(server) then
                up = up + 1
            end
        end
        if up == 1 then
            return
        end
        core.msleep(50)
        waited = waited + 50
    end
    txn:Info("no primary for " .. patience .. " ms: a connection to " .. backend .. " is refused")
    return act.DENY
end, 2)

-- Connections to a server that is down are ended, as soon as none of them is still being made. HAProxy can do it in the moment it sees
-- the server go (on-marked-down shutdown-sessions), but a connection that is being made then, or waits to be tried again, neither ends nor
-- goes on: its client hears nothing until he gives up.
core.register_task(function()
    local down_for = {}
    while true do
        for backend, proxy in pairs(core.backends) do
            for name, server in pairs(proxy.servers) do
                local key = backend .. "/" .. name
                local before = down_for[key] or 0
                down_for[key] = is_up(server) and 0 or before + PAUSE_MS
                if before < CONNECT_MS and down_for[key] >= CONNECT_MS then
                    server:shut_sess()
                end
            end
        end
        core.msleep(PAUSE_MS)
    end
end)
