// The lab's own front-end extension, for JupyterLab and for the classic interface. It needs no build.
(() => {
  let shared // the packages of the page

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

    settings.fetch = async (...args) => {
      const answer = await request(...args)
      if (answer.status === 403 || state !== "connected") check().catch(() => {})
      return answer
    }
    app.serviceManager.connectionFailure.connect(async () => {
      if (state !== "connected") return
      change(
        "no answer",
        "The lab does not answer",
        "The lab has stopped, or it is starting again. Run 'make up' in the project folder to start it. This page then " +
          "connects again and still has your unsaved changes."
      )
      // After some time, JupyterLab itself checks only every five minutes.
      while (state === "no answer") {
        await new Promise(resolve => setTimeout(resolve, 2000))
        await check().catch(() => {})
      }
    })
  }

  // --- plugins ----------------------------------------------------------------------------------------
  async function plugins() {
    const {IConnectionLost} = await load("@jupyterlab/application")
    const {INotebookCellExecutor, runCell} = await load("@jupyterlab/notebook")
    const apputils = await load("@jupyterlab/apputils")
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
