// Everything that runs in the browser. Pages work without it; with it they are live and forgiving.
import htmx from "htmx.org";
import { startClocks } from "./clock.js";
import { startCompany } from "./company.js";
import { startConversation } from "./conversation.js";
import { startForms } from "./forms.js";
import { startHolding } from "./hold.js";
import { startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startMentions } from "./mentions.js";
import { startPalette } from "./palette.js";
import { startPulse } from "./pulse.js";
import { startRequests } from "./requests.js";
import { startSignIn } from "./signin.js";
import { startTheme } from "./theme.js";

// Answers other than the ones below are shown as a message; a form takes its own 409 and 422 (hx-status).
htmx.config.noSwap = [204, 304, "4xx", "5xx"];
// Going back loads the page again: it is quick, and never shows yesterday's list.
htmx.config.history = "reload";

startRequests();
startForms();
startHolding();
startClocks();
startTheme();
startKeys();
startPalette();
startSignIn();
startMentions();
// Before the connection is made, whose first words it wants to hear.
startCompany();
startConversation();
startLive();
startPulse();
