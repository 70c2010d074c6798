// The lab's own front-end extension, for JupyterLab and for the classic interface. It needs no build.
(() => {
  let shared // the packages of the page
  const back = [] // functions to call when the lab answers again

  async function load(name) {
    const [version] = Object.values(shared[name])
    return (await version.get())()
  }

  // --- the lab does not answer, or a login ended ------------------------------------------------------
  function watchConnection(app, {Dialog}) {
    const settings = app.serviceManager.serverSettings
    const request = settings.fetch
    let state = "connected"
    let dialog

    // Show one message for each change of the state, not one for each request that fails.
    async function change(next, title, body, ...buttons) {
      if (state === next) return
      state = next
      dialog?.reject()
      dialog = title && new Dialog({title, body, buttons: [Dialog.cancelButton({label: "Close"}), ...buttons]})
      const result = await dialog?.launch()
      if (result?.button.accept) window.open(`${settings.baseUrl}login`)
    }

    // The server also answers 403 to other requests, such as a save into a folder that is not writable.
    async function check() {
      const answer = await request(`${settings.baseUrl}api/me`, {cache: "no-store"})
      if (answer.ok) {
        await change("connected")
      } else if (answer.status === 403) {
        await change(
          "logged out",
          "Log in again",
          "The lab has a new token, so your login ended. Log in again in a new tab, then come back to this page. It still " +
            "has your unsaved changes.",
          Dialog.okButton({label: "Log in"})
        )
      }
    }

    // After some time, JupyterLab itself asks only every five minutes.
    let waiting = false
    async function wait() {
      if (waiting) return
      waiting = true
      do await new Promise(resolve => setTimeout(resolve, 2000))
      while (await check().then(() => false, () => true))
      waiting = false
      back.forEach(call => call())
    }

    settings.fetch = async (...args) => {
      try {
        const answer = await request(...args)
        if (answer.status === 403 || state !== "connected") check().catch(() => {})
        return answer
      } catch (error) {
        wait()
        throw error
      }
    }
    app.serviceManager.connectionFailure.connect(() => {
      if (state !== "connected") return
      change(
        "no answer",
        "The lab does not answer",
        "The lab has stopped, or it is starting again. Run 'make up' in the project folder to start it. This page then " +
          "connects again and still has your unsaved changes."
      )
      wait()
    })
  }

  // --- what cells printed while no page showed the notebook ------------------------------------------
  // kept_output.py in the server says which cells these are.
  function followRuns(app, tracker, {OutputArea}) {
    const {contents, serverSettings} = app.serviceManager

    async function follow({content, context, sessionContext}) {
      await context.ready
      const kernel = sessionContext.session?.kernel
      if (!kernel) return
      const url = `${serverSettings.baseUrl}labdock/runs/${kernel.id}?session=${kernel.clientId}`
      const answer = await serverSettings.fetch(url, {cache: "no-store"})
      if (!answer.ok) return
      const {runs, files} = await answer.json()
      for (const {run, cell} of runs) {
        const widget = content.widgets.find(each => each.model.id === cell)
        const shown = widget?.model.executionState === "running" && widget.outputArea?.future?.msg
        // If the user has run the cell again, this run is no longer needed.
        if (shown && shown.header.msg_id !== run && shown.metadata.labdock_run !== run) continue
        if (widget?.outputArea) show(widget, run, sessionContext)
      }
      // Only the server changed the file that this page has read. The page now shows the same, so this is no conflict.
      const hashes = files?.[context.localPath] ?? []
      if (hashes.slice(0, -1).includes(context.contentsModel?.hash)) {
        const file = await contents.get(context.path, {content: false, hash: true})
        if (file.hash === hashes.at(-1)) context._updateContentsModel(file)
      }
    }

    // The kernel does not get this request. The server answers it with the outputs of the run.
    async function show({model, outputArea}, run, sessionContext) {
      model.sharedModel.transact(() => model.clearExecution(), false)
      model.executionState = "running"
      model.trusted = true
      try {
        const reply = await OutputArea.execute("", outputArea, sessionContext, {labdock_run: run})
        model.executionCount = reply.content.execution_count ?? null
        model.executionState = "idle"
      } catch {
        // The connection was lost, or the cell was run again.
      }
    }

    // JupyterLab itself waits for up to 30 seconds before it connects a notebook to its kernel again. A notebook that is
    // connected may have asked for its runs while the lab did not answer.
    back.push(() =>
      tracker.forEach(panel => {
        const kernel = panel.sessionContext.session?.kernel
        if (kernel?.connectionStatus === "connected") follow(panel).catch(console.error)
        else kernel?.reconnect().catch(() => {})
      })
    )
    tracker.widgetAdded.connect((_, panel) => {
      const {sessionContext} = panel
      const again = () => follow(panel).catch(console.error)
      sessionContext.connectionStatusChanged.connect((_, status) => status === "connected" && again())
      sessionContext.iopubMessage.connect((_, message) => message.header.msg_type === "labdock_runs" && again())
      sessionContext.ready.then(again)
    })
  }

  // --- plugins ----------------------------------------------------------------------------------------
  async function plugins() {
    const {IConnectionLost} = await load("@jupyterlab/application")
    const {INotebookCellExecutor, INotebookTracker, runCell} = await load("@jupyterlab/notebook")
    const apputils = await load("@jupyterlab/apputils")
    const outputs = await load("@jupyterlab/outputarea")
    return [
      {
        id: "labdock:connection",
        description: "Says why the lab does not answer.",
        autoStart: true,
        provides: IConnectionLost, // so JupyterLab does not show its own message
        activate: app => {
          watchConnection(app, apputils)
          return async () => {}
        },
      },
      {
        id: "labdock:cell-executor",
        description: "Lets cells wait until the kernel is connected. JupyterLab itself does not run such cells.",
        autoStart: true,
        provides: INotebookCellExecutor,
        activate: () => ({
          runCell: async options => {
            const session = options.sessionContext
            if (session?.kernelDisplayStatus === "initializing") {
              await Promise.race([session.initialize(), session.ready])
            }
            return runCell(options)
          },
        }),
      },
      {
        id: "labdock:kept-output",
        description: "Shows what cells printed while no page showed the notebook.",
        autoStart: true,
        optional: [INotebookTracker],
        activate: (app, tracker) => tracker && followRuns(app, tracker, outputs),
      },
    ]
  }

  window._JUPYTERLAB = window._JUPYTERLAB || {}
  window._JUPYTERLAB.labdock = {
    init: scope => {
      shared = scope
    },
    get: async () => {
      const extension = {__esModule: true, default: await plugins()}
      return () => extension
    },
  }
})()
