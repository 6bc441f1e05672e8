"""Every action of the window: its words, its keys, its icon. Keys can be rebound in the settings file."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from echoq_desktop import icons
from echoq_desktop.preferences import Preferences


@dataclass(frozen=True)
class Spec:
    """An action as shipped. keys: portable key names, several separated by ", "."""

    name: str
    text: str
    keys: str
    tip: str
    icon: str = ""
    checkable: bool = False


SPECS = (
    Spec("open", "&Open…", "Ctrl+O", "Open echo loops: DICOM, AVI, MP4, GIF, stills", "open"),
    Spec("open_folder", "Open &folder…", "Ctrl+Shift+O", "Open a folder of loops, or of stills as one loop"),
    Spec("open_sample", "Open the &sample loop", "Ctrl+Shift+S", "Open the cardiac loop that comes with EchoQ"),
    Spec("open_phantom", "Open the &phantom loop", "Ctrl+Shift+P", "Open the simulated loop that comes with EchoQ"),
    Spec("clear_recent", "&Clear this list", "Ctrl+Shift+Backspace", "Forget the loops opened lately"),
    Spec("load_regions", "&Load regions…", "Ctrl+L", "Load left ventricle and myocardium from a region file"),
    Spec("save_regions", "Save &regions", "Ctrl+S", "Save the regions beside the loop"),
    Spec("save_regions_as", "Save regions &as…", "Ctrl+Alt+S", "Save the regions to a file of your choice"),
    Spec("export", "&Export denoised loop…", "Ctrl+E", "Write the denoised loop as video or pictures", "export"),
    Spec("batch", "&Batch export…", "Ctrl+B", "Denoise every loop of a folder"),
    Spec("close", "&Close loop", "Ctrl+W", "Close the loop shown"),
    Spec("quit", "&Quit", "Ctrl+Q", "Leave EchoQ"),
    Spec("undo", "&Undo", "Ctrl+Z", "Take back the last change of a region", "undo"),
    Spec("redo", "&Redo", "Ctrl+Y, Ctrl+Shift+Z", "Do again what was taken back", "redo"),
    Spec("look", "&Look", "V", "Move and enlarge the picture, change nothing", "look", True),
    Spec("draw_lv", "Draw &left ventricle", "L", "Click around the left ventricle; double-click closes", "lv", True),
    Spec(
        "draw_myocardium", "Draw &myocardium", "M", "Click around the muscle; double-click closes", "myocardium", True
    ),
    Spec("edit", "&Edit regions", "E", "Drag handles and regions; double-click an outline adds one", "edit", True),
    Spec("generate_frame", "&Generate on this frame", "A", "Fill both regions of this frame by the network"),
    Spec(
        "generate_loop",
        "Generate on the whole &loop",
        "Shift+A",
        "Fill both regions of every frame by the network",
        "generate",
    ),
    Spec("copy_next", "Copy to &next frame", "Ctrl+Right", "Give the next frame the regions of this one, and go there"),
    Spec("leave_out", "Leave this frame &out", "X", "Do not measure this frame; again: measure it", "", True),
    Spec(
        "follow",
        "&Follow the neighbours",
        "Shift+X",
        "Drop what was set by hand in this frame: follow network and others",
    ),
    Spec("next_edited", "Next frame edited by hand", "Shift+Right", "Go to the next frame whose regions you set"),
    Spec("previous_edited", "Previous frame edited by hand", "Shift+Left", "Go to the previous frame that you set"),
    Spec("select_region", "Select the next &region", "J", "Select the next region of this frame"),
    Spec("next_point", "Select the next &handle", "K", "Select the next handle of the region"),
    Spec("previous_point", "Select the &previous handle", "Shift+K", "Select the previous handle of the region"),
    Spec("insert_point", "&Insert a handle", "Ins", "Put a handle half-way between the selected one and the next"),
    Spec("move_left", "Move left", "Alt+Left", "Move the selected handle or region one pixel to the left"),
    Spec("move_right", "Move right", "Alt+Right", "Move the selected handle or region one pixel to the right"),
    Spec("move_up", "Move up", "Alt+Up", "Move the selected handle or region one pixel up"),
    Spec("move_down", "Move down", "Alt+Down", "Move the selected handle or region one pixel down"),
    Spec("larger", "Larger", "Ctrl+Up", "Enlarge the selected region around its middle"),
    Spec("smaller", "Smaller", "Ctrl+Down", "Shrink the selected region around its middle"),
    Spec("clear_regions", "&Clear all regions", "Ctrl+Alt+Backspace", "Delete every region of this loop"),
    Spec("go_ed", "Go to E&D", "D", "Go to end diastole"),
    Spec("go_es", "Go to E&S", "T", "Go to end systole"),
    Spec("mark_ed", "Mark ED here", "Shift+D", "This frame is end diastole; a second time takes the mark away"),
    Spec("mark_es", "Mark ES here", "Shift+T", "This frame is end systole; a second time takes the mark away"),
    Spec("find_marks", "&Find ED and ES", "Ctrl+D", "Find end diastole and systole from the area of the LV"),
    Spec("review_accepted", "&Accept", "Ctrl+Shift+A", "Review: the regions sit where they should", "", True),
    Spec("review_corrected", "&Corrected", "Ctrl+Shift+C", "Review: they do so after corrections by hand", "", True),
    Spec("review_rejected", "Re&ject", "Ctrl+Shift+R", "Review: the regions cannot be used", "", True),
    Spec("show_regions", "Show &regions", "H", "Show or hide the regions on the pictures", "", True),
    Spec("play", "&Play", "Space", "Play or pause", "play"),
    Spec("next", "&Next frame", "Right", "One frame forward", "forward"),
    Spec("previous", "Pre&vious frame", "Left", "One frame back", "back"),
    Spec("first", "&First frame", "Home", "Go to the first frame", "start"),
    Spec("last", "&Last frame", "End", "Go to the last frame", "end"),
    Spec("next_loop", "Next l&oop", "PgDown", "Show the next open loop"),
    Spec("previous_loop", "Previous loo&p", "PgUp", "Show the previous open loop"),
    Spec("repeat", "&Repeat", "R", "Start again at the end", "loop", True),
    Spec("every_frame", "E&very frame", "Shift+E", "Show every frame even if that is slower than life", "every", True),
    Spec("slower", "&Slower", "-", "Play slower"),
    Spec("faster", "Fas&ter", "+, =", "Play faster"),
    Spec("true_speed", "Speed of the f&ile", "N", "Play at the rate at which the loop was acquired", "true_speed"),
    Spec("trim_in", "Start here", "[", "Play from this frame on", "trim_in"),
    Spec("trim_out", "End here", "]", "Play up to this frame", "trim_out"),
    Spec("trim_clear", "Play the &whole loop", "\\", "Forget where playing starts and ends", "trim_clear"),
    Spec("one_beat", "One &beat", "B", "Play the one heart beat around this frame", "beat"),
    Spec("side", "&Side by side", "Shift+1", "Show the panes beside each other", "side", True),
    Spec("wipe", "&Wipe", "Shift+2", "One picture, original and denoised on either side of an edge", "wipe", True),
    Spec("blink", "&Blink", "Shift+3", "One picture, original and denoised in turn", "blink", True),
    Spec("difference", "&Difference", "0", "Show what was removed, amber; what was added, blue", "difference", True),
    Spec(
        "next_target", "&Compare with the other method", "C", "In wipe and blink: the next method beside the original"
    ),
    Spec("swap", "S&wap", "S", "Original and denoised change places", "swap", True),
    Spec("magnify", "&Magnify", "Z", "Enlarge where the mouse is; again: the whole picture", "magnify"),
    Spec("fit", "&Fit", "F", "Fit the picture to its pane again", "fit"),
    Spec("whole", "Whole &frame", "Shift+F", "Fit the whole frame instead of the sector", "", True),
    Spec("invert", "&Invert", "I", "Turn black and white round", "", True),
    Spec("next_grey_map", "Next &grey map", "G", "Show the pictures through the next grey map"),
    Spec("pane_1", "Show &1", "1", "Show or hide the original", "", True),
    Spec("pane_2", "Show &2", "2", "Show or hide the denoised loop", "", True),
    Spec("pane_3", "Show &3", "3", "Show or hide BM3D", "", True),
    Spec("sigma_auto", "BM3D: &estimate the noise", "Ctrl+Shift+N", "Estimate the noise from the loop", "", True),
    Spec("sigma_set", "BM3D: &set the noise…", "Ctrl+N", "Set BM3D's noise level yourself"),
    Spec("encode_noise", "&Encode this frame", "U", "Find this frame in the generator, to turn its noise"),
    Spec(
        "noise_pane", "Show the noisy frame in a &pane", "4", "The frame with noise beside the other pictures", "", True
    ),
    Spec("no_noise", "&No noise", "Ctrl+U", "All noise back to zero"),
    Spec(
        "try_channels", "&Try channels", "Ctrl+Shift+U", "Show what single channels of the generator do to this frame"
    ),
    Spec("noisy_loop", "&Apply to loop", "Shift+U", "Make the whole loop noisy, as a new loop"),
    Spec("clean_source", "Show the clean &source", "Alt+U", "Show the loop that this noisy one was made from"),
    Spec("shortcuts", "&Shortcuts", "F1", "All keys of this window"),
    Spec("settings_file", "Where &settings are kept…", "Ctrl+,", "Show the file in which keys can be changed"),
    Spec("about", "&About EchoQ", "Shift+F1", "Version, licences, what it is for"),
    Spec("full_screen", "F&ull screen", "F11", "Use the whole screen", "", True),
)


def build(window: QWidget, preferences: Preferences) -> dict[str, QAction]:
    """QActions of all SPECS, added to the window; keys from the settings file where it names them."""
    made: dict[str, QAction] = {}
    for spec in SPECS:
        action = QAction(spec.text, window)
        if spec.icon:
            action.setIcon(icons.icon(spec.icon))
        keys = [QKeySequence(text.strip()) for text in preferences.keys(spec.name, spec.keys).split(", ")]
        action.setShortcuts([key for key in keys if not key.isEmpty()])
        action.setCheckable(spec.checkable)
        action.setObjectName(spec.name)
        describe(action, spec.tip)
        window.addAction(action)
        made[spec.name] = action
    return made


def describe(action: QAction, tip: str) -> None:
    """Give an action its tooltip, with the keys, and its line for the status bar."""
    keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
    action.setToolTip(f"{tip} ({keys})" if keys else tip)
    action.setStatusTip(tip)
